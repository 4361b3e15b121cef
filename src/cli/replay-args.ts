import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { InvalidArgumentError } from 'commander'
import { parseDuration, parseInstant } from '../define-fields.ts'
import { LakeError } from '../error.ts'
import type { ReplayJson } from '../server/replays-json.ts'
import type { Client } from './client.ts'
import type { CliContext } from './context.ts'

const ID_CHARS = 64
/** Enough to tell the replays of a store apart, and short enough to type. */
const SHORT_CHARS = 8

type Point = 'earliest' | { readonly timestamp: string } | { readonly offsets: Readonly<Record<string, string>> }

export function shortId(id: string): string {
  return id.slice(0, SHORT_CHARS)
}

/** The replay that an id, or the beginning of one, is of. Throws `replay.unknown`, `request.invalid`. */
export async function findReplay(client: Client, given: string): Promise<ReplayJson> {
  if (given.length === ID_CHARS) return client.get<ReplayJson>(pathOf(given))
  const fitting = (await client.list<ReplayJson>('/v1/replays', 10_000)).filter(({ id }) => id.startsWith(given))
  if (fitting.length === 1) return fitting[0]!
  if (fitting.length === 0)
    throw new LakeError('replay.unknown', `no replay begins with "${given}"`, {
      fix: 'See "kappalake replay list".',
    })
  throw new LakeError(
    'request.invalid',
    `"${given}" is the beginning of ${fitting.length} replays: ${fitting.map(({ id }) => id.slice(0, 16)).join(', ')}`,
    { fix: 'Write more of it.' },
  )
}

export function pathOf(id: string, verb?: string): string {
  return `/v1/replays/${encodeURIComponent(id)}${verb === undefined ? '' : `/${verb}`}`
}

/**
 * Where a replay begins or ends: `earliest`, a time, how long ago (`24h`), places (`shop.orders/0@1234,…`), or offsets
 * by partition as JSON, as text or in a file.
 */
export async function readPoint(text: string, flag: string, { clock, folder }: CliContext): Promise<Point> {
  if (text === 'earliest') return 'earliest'
  if (/^\d{4}-\d\d-\d\d/.test(text)) return { timestamp: timeOf(text, flag) }
  if (/^\d+(?:\.\d+)?(?:ms|s|m|h|d)$/.test(text))
    return { timestamp: new Date(clock.nowMs() - parseDuration(text)).toISOString() }
  if (PLACES.test(text))
    return { offsets: Object.fromEntries(text.split(',').map((place) => place.split('@') as [string, string])) }
  const json = text.trimStart().startsWith('{') ? text : await readOffsets(path.resolve(folder, text), flag)
  return { offsets: offsetsOf(json, flag) }
}

const PLACES = /^[\w.-]+\/\d+@\d+(?:,[\w.-]+\/\d+@\d+)*$/
const FORMS =
  'Write earliest, a time (2026-11-21T10:00:00Z), how long ago (24h), places (shop.orders/0@1234,shop.orders/1@99), or a file with {"shop.orders/0": 1234}.'

function timeOf(text: string, flag: string): string {
  try {
    // A day alone begins at midnight, UTC.
    return new Date(parseInstant(text.length === 10 ? `${text}T00:00:00Z` : text)).toISOString()
  } catch (error) {
    if (!(error instanceof LakeError)) throw error
    throw new LakeError('request.invalid', `${flag}: ${error.message}`, { fix: FORMS })
  }
}

async function readOffsets(file: string, flag: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw new LakeError('request.invalid', `${flag}: neither a place in the log nor a file that can be read`, {
      cause,
      fix: FORMS,
    })
  }
}

function offsetsOf(json: string, flag: string): Readonly<Record<string, string>> {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (cause) {
    throw new LakeError('request.invalid', `${flag}: the offsets are not JSON`, { cause, fix: FORMS })
  }
  const entries = Object.entries(typeof value === 'object' && value !== null ? value : {})
  // Larger numbers would have been rounded by now.
  const isOffset = (offset: unknown) =>
    typeof offset === 'string' ? /^\d{1,19}$/.test(offset) : Number.isSafeInteger(offset) && (offset as number) >= 0
  if (Array.isArray(value) || entries.length === 0 || !entries.every(([, offset]) => isOffset(offset)))
    throw new LakeError('request.invalid', `${flag}: offsets are whole numbers by partition`, { fix: FORMS })
  return Object.fromEntries(entries.map(([partition, offset]) => [partition, String(offset)]))
}

/** `a,b` */
export function namesOf(text: string): string[] {
  const names = text.split(',').map((name) => name.trim())
  if (names.every((name) => name !== '')) return names
  throw new InvalidArgumentError('Write names with commas between them: orders,revenue_1m.')
}

/**
 * Asks a person before something that matters. Throws `request.invalid` when it was not confirmed, or when there is
 * nobody to ask.
 */
export async function confirm(context: CliContext, what: string, isConfirmed: boolean | undefined): Promise<void> {
  if (isConfirmed === true) return
  if (context.ask === undefined) throw new LakeError('request.invalid', what, { fix: 'Add --yes to do it.' })
  const answer = await context.ask(`${what}. Go on? [y/N] `)
  if (!/^y(es)?$/i.test(answer.trim()))
    throw new LakeError('request.invalid', 'nothing was done', { fix: 'Answer y, or add --yes.' })
}
