import type { Lake } from '../index.ts'
import { deadLetterSql, ledgerSql, shopEnds, shopLedger } from '../ingest/shop-ledger.ts'
import type { Positions } from '../log.ts'
import type { ShopSettings } from '../settings.ts'

export interface Figures {
  readonly rows: string
  readonly deadLetters: string
  readonly digest: string
  readonly deadLetterDigest: string
}

export interface Verdict {
  readonly ok: boolean
  readonly seed: number
  readonly version: string
  readonly records: string
  readonly tables: readonly {
    readonly table: string
    readonly equal: boolean
    readonly expected: Figures
    readonly found: Figures
  }[]
}

/** Commits what the log holds, then compares every table with what the generator says must stand in it. */
export async function judge(
  lake: Pick<Lake, 'pipelines' | 'sql'>,
  shop: ShopSettings,
  signal: AbortSignal,
): Promise<Verdict> {
  const version = await lake.pipelines[0]!.flush(signal)
  const ledger = shopLedger(shop, version.positions)
  const tables: Verdict['tables'][number][] = []
  for (const [table, { rows, deadLetters, digest, deadLetterDigest }] of ledger) {
    const expected = {
      rows: String(rows),
      deadLetters: String(deadLetters),
      digest: String(digest),
      deadLetterDigest: String(deadLetterDigest),
    }
    const found = await figuresOf(lake, table)
    tables.push({ table, equal: isEqual(expected, found), expected, found })
  }
  const records = [...version.positions.values()].reduce((sum, position) => sum + position, 0n)
  return {
    ok: tables.every((table) => table.equal) && isWhole(shop, version.positions) && records > 0n,
    seed: shop.seed,
    version: String(version.number),
    records: String(records),
    tables,
  }
}

async function figuresOf(lake: Pick<Lake, 'sql'>, table: string): Promise<Figures> {
  const [rows] = await lake.sql<{ n: string; digest: string }>(ledgerSql(table))
  const [deadLetters] = await lake.sql<{ n: string; digest: string }>(deadLetterSql(table))
  return {
    rows: rows!.n,
    deadLetters: deadLetters!.n,
    digest: rows!.digest,
    deadLetterDigest: deadLetters!.digest,
  }
}

function isEqual(a: Figures, b: Figures): boolean {
  return (Object.keys(a) as (keyof Figures)[]).every((key) => a[key] === b[key])
}

/** No partition was left out of what is compared; and where production has an end, that all of it was read. */
function isWhole(shop: ShopSettings, positions: Positions): boolean {
  return [...shopEnds(shop, shop.untilMs ?? shop.epochMs)].every(([id, end]) => {
    const position = positions.get(id)
    return position !== undefined && (shop.untilMs === undefined || position === end)
  })
}
