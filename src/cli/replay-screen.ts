import type { DifferenceJson, ReplayJson } from '../server/replays-json.ts'
import { paint } from './context.ts'
import type { Row } from './output.ts'
import { shortId } from './replay-args.ts'
import { grouped } from './serve.ts'

type TableJson = DifferenceJson['tables'][number]
type SampleJson = TableJson['samples'][number]

const LIST_COLUMNS = ['replay', 'pipeline', 'mode', 'is', 'percent', 'rebuilds', 'difference', 'created', 'next']

/** Columns of `replay list` on a screen, where there is little room; programs take the replays as they are. */
export function listColumns(replays: readonly ReplayJson[]): readonly string[] {
  const isNext = replays.length === 0 || replays.some((replay) => nextOf(replay) !== '')
  return LIST_COLUMNS.filter((name) => isNext || name !== 'next')
}

export function onScreen(replay: ReplayJson): Row {
  const { id, pipeline, options, progress, rebuilt, difference, created } = replay
  return {
    replay: shortId(id),
    pipeline,
    mode: options.mode,
    is: stateOf(replay),
    percent: progress === null ? null : percentOf(progress.percent),
    rebuilds: rebuilt.length === 0 ? null : rebuilt.join(', '),
    difference: difference === null ? null : difference.equal ? 'none' : shortId(difference.id),
    created: created.replace(/\.\d+Z$/, 'Z'),
    next: nextOf(replay),
  }
}

/** `rebuilding`, `ready, paused`, `failed while catching-up` */
export function stateOf({ state, progress }: ReplayJson): string {
  if (state === 'failed' && progress !== null) return `failed while ${progress.phase}`
  if (state === 'done' && progress !== null && /cut-over|rolled-back/.test(progress.phase)) return progress.phase
  if (state !== 'running' || progress === null) return state
  return progress.paused ? `${progress.phase}, paused` : progress.phase
}

/** What a person would do now, as a command; empty where there is nothing to do. */
export function nextOf(replay: ReplayJson): string {
  const { id, state, options, progress, difference, error } = replay
  const command = (verb: string) => `kappalake replay ${verb} ${shortId(id)}`
  if (state === 'queued') return error === null ? 'a process with this definition begins it' : command('cancel')
  if (state === 'failed') return `${command('resume')} (or cancel)`
  if (progress?.phase === 'cut-over') return command('rollback')
  if (state === 'done' && options.mode === 'verify' && difference?.equal === false) return command('diff')
  if (state !== 'running' || progress === null) return ''
  if (progress.paused) return command('resume')
  if (progress.phase === 'ready') return command(difference?.equal === false ? 'diff' : 'cutover')
  return command('watch')
}

/** A difference for a person: a line for each table, then what changed in it. */
export function differenceScreen(replay: ReplayJson, difference: DifferenceJson, hasColor: boolean): string {
  const { tables, version } = difference
  const width = Math.max(...tables.map(({ table }) => table.length))
  // Beside lines that say more than a number, numbers are no column.
  const digits = difference.equal ? Math.max(...tables.map(({ rowsAfter }) => grouped(BigInt(rowsAfter)).length)) : 0
  const different = tables.filter(({ kind }) => kind !== 'equal')
  const count = `${different.length} of ${tables.length} ${tables.length === 1 ? 'table' : 'tables'}`
  return [
    `${replay.pipeline} · replay ${shortId(replay.id)} against version ${version}`,
    '',
    ...tables.flatMap((table) => [
      headOf(table, width, digits, hasColor),
      ...detailsOf(table, hasColor).map((line) => `    ${line}`),
    ]),
    '',
    difference.equal
      ? paint('✓ equal: every row, by number and hash', 'green', hasColor)
      : paint(
          `≠ ${count} ${different.length === 1 ? 'differs' : 'differ'} · difference ${shortId(difference.id)}`,
          'yellow',
          hasColor,
        ),
    ...(difference.equal || replay.progress?.phase !== 'ready' || replay.options.autoCutover === 'always'
      ? []
      : [
          `  accept: kappalake replay cutover ${shortId(replay.id)} --approve ${shortId(difference.id)}`,
          `  refuse: kappalake replay cancel ${shortId(replay.id)}`,
        ]),
    '',
  ].join('\n')
}

function headOf(table: TableJson, width: number, digits: number, hasColor: boolean): string {
  const { kind, rowsBefore, rowsAfter, added, removed, changed, groupsCompared, groupsDifferent } = table
  const name = table.table.padEnd(width)
  const before = grouped(BigInt(rowsBefore))
  const after = grouped(BigInt(rowsAfter))
  if (kind === 'equal') return `${paint('=', 'green', hasColor)} ${name}  ${after.padStart(digits)} rows, equal`
  if (kind === 'new') return `${paint('+', 'green', hasColor)} ${name}  ${after.padStart(digits)} rows, new`
  const counts = (
    [
      [added, 'added'],
      [removed, 'removed'],
      [changed, 'changed'],
    ] as const
  )
    .filter(([rows]) => rows !== '0')
    .map(([rows, word]) => `${grouped(BigInt(rows))} ${word}`)
  return [
    `${paint('≠', 'yellow', hasColor)} ${name}  ${before === after ? before : `${before} → ${after}`} rows`,
    ...(counts.length === 0 ? [] : [counts.join(', ')]),
    ...(groupsDifferent === 0
      ? []
      : [`in ${grouped(BigInt(groupsDifferent))} of ${grouped(BigInt(groupsCompared))} ${unitOf(table)}`]),
  ].join(' · ')
}

/** Tables are compared by partition of the log, windows by window. */
function unitOf({ groups }: TableJson): string {
  const name = groups[0]?.group ?? ''
  if (name.startsWith('partition ')) return 'partitions'
  return /^\d{4}-/.test(name) ? 'windows' : 'groups'
}

/** Enough to see what it is about; programs get more. */
const SAMPLES_SHOWN = 5

function detailsOf(table: TableJson, hasColor: boolean): string[] {
  const { columns, samples, leftOut, kind } = table
  const all = BigInt(table.added) + BigInt(table.removed) + BigInt(table.changed)
  // Columns that only one side has were named once.
  const own = new Set([...columns.added, ...columns.removed])
  const shown = kind === 'different' ? samples.slice(0, SAMPLES_SHOWN) : []
  const rest = all - BigInt(shown.length)
  return [
    ...columns.added.map((name) => `${paint('+', 'green', hasColor)} column ${name}`),
    ...columns.removed.map((name) => `${paint('-', 'red', hasColor)} column ${name}`),
    ...columns.retyped.map((change) => `${paint('~', 'yellow', hasColor)} column ${change}`),
    ...(kind === 'different' ? groupLines(table) : []),
    ...shown.flatMap((sample) => sampleLines(sample, own, hasColor)),
    ...(rest > 0n && shown.length > 0 ? [`… and ${grouped(rest)} more rows`] : []),
    ...(kind === 'equal' ? [] : leftOut.map((text) => paint(`not compared: ${text}`, 'dim', hasColor))),
  ]
}

/** Where rows came or went: a row that changed says so itself. */
function groupLines({ groups, groupsDifferent }: TableJson): string[] {
  const moved = groups.filter(({ rowsBefore, rowsAfter }) => rowsBefore !== rowsAfter)
  const isCut = moved.length > 0 && groupsDifferent > groups.length
  return [
    ...moved.map(({ group, rowsBefore, rowsAfter }) => `${textOf(group)}: ${rowsBefore} → ${rowsAfter} rows`),
    ...(isCut ? ['…'] : []),
  ]
}

const SIGNS = { added: ['+', 'green'], removed: ['-', 'red'], changed: ['~', 'yellow'] } as const

/** A row by its key, what it says on both sides where they differ, and the record that it came from. */
function sampleLines(sample: SampleJson, own: ReadonlySet<string>, hasColor: boolean): string[] {
  const { change, key, before, after, record } = sample
  const [sign, color] = SIGNS[change]
  const head = `${paint(sign, color, hasColor)} ${pairs(key)}${record === null ? '' : `  (${record})`}`
  const isTold = (name: string) => !(name in key) && !own.has(name)
  if (before !== null && after !== null) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(isTold)
    const differing = names.filter((name) => textOf(before[name]) !== textOf(after[name]))
    return [head, ...differing.map((name) => `    ${name}: ${textOf(before[name])} → ${textOf(after[name])}`)]
  }
  const row = Object.fromEntries(Object.entries(before ?? after ?? {}).filter(([name]) => isTold(name)))
  return [head, ...(Object.keys(row).length === 0 ? [] : [`    ${pairs(row)}`])]
}

function pairs(row: Row): string {
  const text = Object.entries(row)
    .map(([name, value]) => `${name}=${textOf(value)}`)
    .join('  ')
  return cut(text, VALUE_MAX * 2)
}

const VALUE_MAX = 60

/** On one line, and not longer than can be read; a control character would move the cursor of whoever reads. */
function textOf(value: unknown): string {
  if (value === undefined) return '(no column)'
  const text =
    typeof value === 'string' ? value.replace(/^(\d{4}-\d\d-\d\dT[\d:]{8})\.0+Z$/, '$1Z') : JSON.stringify(value)
  return cut(
    text.replace(/[\p{Cc}\u2028\u2029]/gu, (character) => JSON.stringify(character).slice(1, -1)),
    VALUE_MAX,
  )
}

function cut(text: string, max: number): string {
  const characters = [...text]
  return characters.length > max ? `${characters.slice(0, max - 1).join('')}…` : text
}

/** 99.96 is not 100 yet. */
export function percentOf(percent: number): string {
  return (Math.floor(percent * 10) / 10).toFixed(percent >= 100 ? 0 : 1)
}
