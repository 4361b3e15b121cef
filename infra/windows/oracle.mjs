// What window tables and their late tables must hold when the log is read up to given positions: the rules of
// lateness and counting, record by record, in plain code that shares nothing with ours.

const MAX_FUTURE_SKEW_MS = 5 * 60_000

/**
 * @param window one of WINDOWS
 * @param source its source, of SOURCES
 * @param log records by partition, in order: `{ offset, kts, key, value }`
 * @param positions next offset by partition
 * @returns `rows` by group and window, `late` as a list, `clocks` by partition
 */
export function recompute(window, source, log, positions, allowedLatenessMs = 0) {
  const cells = new Map()
  const late = []
  const clocks = new Map()
  for (const [partition, records] of log) {
    let clock = -Infinity
    const standing = new Map()
    for (const { offset, kts, key, value } of records) {
      if (offset >= positions.get(partition)) break
      const row = rowOf(source, value)
      if (row === 'poison') continue
      const judge = (each, weight) => {
        const { late: wasLate, counted } = judged(window, source, each, clock, allowedLatenessMs)
        for (const bounds of counted) count(cells, window, each, bounds, weight)
        if (wasLate === undefined) return
        const clockMs = clock === -Infinity ? null : clock
        late.push({ partition, offset, weight, clockMs, row: each, counted: counted.length, ...wasLate })
      }
      if (window.input === 'rows') {
        const id = row === null ? key : row[source.key]
        if (standing.has(id)) judge(standing.get(id), -1)
        if (row === null) standing.delete(id)
        else standing.set(id, row)
      }
      if (row === null) continue
      judge(row, 1)
      // T4, C8: every row with an event time moves the clock, unless it is too far ahead of its record.
      if (row.timestamp !== null && row.timestamp <= kts + MAX_FUTURE_SKEW_MS) clock = Math.max(clock, row.timestamp)
    }
    clocks.set(partition, clock)
  }
  return { rows: results(window, cells), late, clocks }
}

/** The row of a value; null deletes, and what cannot be read is no row. */
function rowOf({ config }, value) {
  if (value === null) return null
  let fields
  try {
    fields = JSON.parse(value)
  } catch {
    return 'poison'
  }
  const names = Object.keys(config.columns)
  if (names.some((name) => config.columns[name].endsWith('required') && fields[name] === undefined)) return 'poison'
  if (typeof fields.timestamp === 'string') return 'poison'
  return Object.fromEntries(names.map((name) => [name, fields[name] ?? null]))
}

/** L2, L3: the windows that the row counts in, and why it stands in the late table, if it does. */
function judged(window, { outOfOrdernessMs }, row, clock, allowedLatenessMs) {
  if (!window.where(row)) return { counted: [] }
  if (row.timestamp === null) return { counted: [], late: { reason: 'null_event_time', windows: null } }
  if (row[window.groupBy] === null) return { counted: [], late: { reason: 'null_group_key', windows: null } }
  const all = window.windowsOf(row.timestamp)
  const isLate = ([, end]) => end + allowedLatenessMs + outOfOrdernessMs <= clock
  const windows = all.filter(isLate)
  const counted = all.filter((bounds) => !isLate(bounds))
  return windows.length === 0 ? { counted } : { counted, late: { reason: 'late', windows } }
}

function count(cells, { groupBy }, row, [start, end], weight) {
  const group = row[groupBy]
  const id = `${start} ${end} ${group}`
  if (!cells.has(id)) cells.set(id, { group, start, end, rows: [] })
  const { rows } = cells.get(id)
  if (weight === 1) rows.push(row)
  // A row is taken back with the values that it was counted with: it is the same object.
  else rows.splice(rows.indexOf(row), 1)
}

function results({ select }, cells) {
  const found = new Map()
  for (const [id, { group, start, end, rows }] of cells) {
    if (rows.length === 0) continue
    const values = Object.fromEntries(Object.entries(select).map(([name, { of }]) => [name, of(rows)]))
    found.set(id, { group, start, end, values, lastMs: Math.max(...rows.map(({ timestamp }) => timestamp)) })
  }
  return found
}
