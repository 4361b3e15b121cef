/** Order events of about 210 bytes: a nested address in four of five, one in four with letters beyond ASCII. */
export function* orders(seed = 12_345): Generator<string, never> {
  let state = seed
  const random = (): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 4_294_967_296
  }
  const one = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const hex = (length: number): string =>
    Array.from({ length }, () => '0123456789abcdef'[Math.floor(random() * 16)]).join('')
  for (let i = 0; ; i++) {
    const order = {
      order_id: `${hex(8)}-${hex(4)}-4${hex(3)}-a${hex(3)}-${hex(12)}`,
      customer_id: `cust-${String(Math.floor(100_000 * random() ** 3)).padStart(8, '0')}`,
      amount: Math.round(random() * 100_000) / 100,
      event_time: 1_760_000_000_000 + i * 3 + Math.floor(random() * 5_000),
      status: one(STATUSES),
    }
    const escaped = random() < 0.01 ? ' "B" \\ 2' : ''
    const address = {
      street: `${1 + Math.floor(random() * 999)} ${one(STREETS)}${escaped}`,
      city: one(CITIES),
      zip: String(10_000 + Math.floor(random() * 89_999)),
      country: one(COUNTRIES),
    }
    yield JSON.stringify(random() < 0.8 ? { ...order, address } : order)
  }
}

const STATUSES = ['CREATED', 'PAID', 'SHIPPED', 'DELIVERED', 'CANCELLED', 'REFUNDED'] as const
const STREETS = ['Main St', 'Rua Augusta', 'Oak Avenue', 'Hauptstraße', 'High Street', 'Elm Road', 'Market Sq'] as const
const CITIES = [
  'Lisbon',
  'Berlin',
  'São Paulo',
  'München',
  'Springfield',
  'Paris',
  'Kraków',
  'Austin',
  'Osaka',
] as const
const COUNTRIES = ['PT', 'DE', 'BR', 'US', 'FR', 'PL', 'JP', 'KE', 'CA', 'GB'] as const
