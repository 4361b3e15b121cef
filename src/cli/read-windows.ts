import type { Client } from './client.ts'
import type { Row } from './output.ts'
import { compoundDuration } from './read-texts.ts'

export const WINDOW_STATES = ['open', 'final', 'corrected'] as const

interface WindowsPage {
  readonly version: string
  readonly watermark: string | null
  readonly outOfOrdernessMs: number
  readonly allowedLatenessMs: number
  readonly partitions: readonly PartitionRow[]
  readonly items: readonly (Row & { readonly group: Row; readonly results: Row })[]
  readonly nextCursor: string | null
}

interface PartitionRow {
  readonly partition: string
  readonly clock: string | null
  readonly lag: string | null
  readonly idle: boolean | null
  readonly holding: boolean
}

/** The newest `limit` windows of a table as rows, and two lines on its watermark. */
export async function readWindows(
  client: Client,
  table: string,
  { state, limit }: { readonly state?: string; readonly limit: number },
): Promise<{ readonly columns: readonly string[]; readonly rows: readonly Row[]; readonly notes: readonly string[] }> {
  const items: WindowsPage['items'][number][] = []
  let page: WindowsPage | undefined
  do {
    const query = new URLSearchParams({ limit: String(Math.max(1, Math.min(1_000, limit - items.length))) })
    if (page?.nextCursor) query.set('cursor', page.nextCursor)
    else if (state !== undefined) query.set('state', state)
    page = await client.get<WindowsPage>(`/v1/tables/${encodeURIComponent(table)}/windows?${query}`)
    items.push(...page.items)
  } while (page.nextCursor !== null && items.length < limit)
  const rows = items.slice(0, limit).map(({ state: is, start, end, group, results, corrections }) => ({
    ...group,
    window_start: start,
    window_end: end,
    ...results,
    state: is,
    corrections,
  }))
  const [first] = items
  const columns = [
    ...Object.keys(first?.group ?? {}),
    'window_start',
    'window_end',
    ...Object.keys(first?.results ?? {}),
    'state',
    'corrections',
  ]
  return { columns, rows, notes: notesOf(page) }
}

function notesOf({ version, watermark, outOfOrdernessMs, allowedLatenessMs, partitions }: WindowsPage): string[] {
  const holding = partitions.filter((each) => each.holding)
  const waits = holding.map(({ partition, clock, lag, idle }) =>
    [`${partition} at ${clock ?? 'no event time yet'}`, lag === null ? '' : `lag ${lag}`, idle === true ? 'idle' : '']
      .filter((text) => text !== '')
      .join(', '),
  )
  return [
    `version ${version}, watermark ${watermark ?? 'not known yet'}, bound ${compoundDuration(outOfOrdernessMs)}, allowed lateness ${compoundDuration(allowedLatenessMs)}`,
    waits.length === 0 ? 'nothing holds the watermark' : `held by ${waits.join('; ')}`,
  ]
}
