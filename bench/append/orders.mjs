// Order events of about 210 bytes of JSON: a nested address in four of five, one in four with letters beyond ASCII, the
// customers as unevenly busy as customers are. A pure function of the seed.
const STATUSES = ['CREATED', 'PAID', 'SHIPPED', 'DELIVERED', 'CANCELLED', 'REFUNDED']
const STREETS = [
  'Main St',
  'Rua Augusta',
  'Oak Avenue',
  'Hauptstraße',
  'High Street',
  'Elm Road',
  'Market Sq',
  '5th Avenue',
]
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
  'Nairobi',
  'Toronto',
  'Leeds',
]
const COUNTRIES = ['PT', 'DE', 'BR', 'US', 'FR', 'PL', 'JP', 'KE', 'CA', 'GB']
const CUSTOMERS = 100_000
const FIRST_MS = 1_760_000_000_000

/** Columns of a table of these orders, as a definition writes them. */
export const ORDER_COLUMNS = {
  order_id: 'string',
  customer_id: 'string',
  amount: 'double',
  event_time: 'timestamptz(ms)',
  status: 'string',
  address: 'struct<street:string,city:string,zip:string,country:string>',
}

/**
 * Returns a function that gives the next order: its key, its time and its JSON text. `keys`: so many orders come first,
 * each once; of those after them four of five are of one that was there before, any with equal chance.
 */
export function orderSource(seed, keys) {
  const random = xorshift(seed)
  const customer = zipf(random)
  const below = (limit) => Math.floor(random() * limit)
  const hex4 = () => HEX[below(65_536)]
  const hex3 = () => HEX[below(4_096)].slice(1)
  let number = 0
  const freshKey = () => `${hex4()}${hex4()}-${hex4()}-4${hex3()}-a${hex3()}-${hex4()}${hex4()}${hex4()}`
  const nextKey = keys === undefined ? freshKey : keySource(seed, keys, random)
  return () => {
    const key = nextKey()
    const name = `cust-${String(customer()).padStart(8, '0')}`
    const amount = Math.round(random() * 100_000) / 100
    const timeMs = FIRST_MS + number++ * 3 + below(5_000)
    const status = STATUSES[below(6)]
    const address = random() < 0.8 ? `,"address":${addressText(below, random)}` : ''
    const value = `{"order_id":"${key}","customer_id":"${name}","amount":${amount},"event_time":${timeMs},"status":"${status}"${address}}`
    return { key, timeMs, value }
  }
}

/** Order n has the same key whenever it comes, so that none has to be remembered. */
function keySource(seed, keys, random) {
  let count = 0
  return () => {
    const number = count < keys || random() >= UPDATES ? count++ : Math.floor(random() * count)
    const [a, b, c] = [mix(number ^ seed), mix(number + 0x7f4a7c15), mix(Math.imul(number, 0x9e3779b1) ^ seed)]
    const [low, mid] = [c & 0xffff, c >>> 16]
    return `${HEX[a >>> 16]}${HEX[a & 0xffff]}-${HEX[b >>> 16]}-4${HEX[b & 0xfff].slice(1)}-a${HEX[mid & 0xfff].slice(1)}-${HEX[low]}${HEX[(number >>> 16) & 0xffff]}${HEX[number & 0xffff]}`
  }
}

function mix(value) {
  let x = value
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}

const UPDATES = 0.8
const HEX = Array.from({ length: 65_536 }, (_, n) => n.toString(16).padStart(4, '0'))

function addressText(below, random) {
  const street = `${1 + below(999)} ${STREETS[below(8)]}`
  const city = CITIES[below(12)]
  const zip = 10_000 + below(89_999)
  const country = COUNTRIES[below(10)]
  const quoted = random() < 0.01 ? ' \\"B\\" \\\\ 2' : ''
  return `{"street":"${street}${quoted}","city":"${city}","zip":"${zip}","country":"${country}"}`
}

function xorshift(seed) {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 4_294_967_296
  }
}

/** Customer k has a share of 1 / (k + 1)^1.05. */
function zipf(random) {
  const sums = new Float64Array(CUSTOMERS)
  let sum = 0
  for (let k = 0; k < CUSTOMERS; k++) sums[k] = sum += 1 / (k + 1) ** 1.05
  return () => {
    const draw = random() * sum
    let [low, high] = [0, CUSTOMERS - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if (sums[middle] < draw) low = middle + 1
      else high = middle
    }
    return low
  }
}
