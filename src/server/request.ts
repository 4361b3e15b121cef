import * as z from 'zod'
import { LakeError } from '../error.ts'
import { suggestion } from './suggest.ts'

export const BODY_BYTES_MAX = 1024 * 1024
/** What is deeper is refused before it is read: what comes after reading it goes down step by step. */
const NESTING_MAX = 100

/** Checks a part of a request against its schema; every problem is told in one sentence each. */
export function parse<Schema extends z.ZodType>(schema: Schema, value: unknown, where: string): z.output<Schema> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const known = schema instanceof z.ZodObject ? Object.keys(schema.shape) : []
  throw new LakeError('request.invalid', result.error.issues.map((issue) => sentence(issue, where, known)).join('; '), {
    fix: 'Compare with /openapi.json.',
  })
}

/** The body as UTF-8 text. Throws `request.too_large`, `request.invalid`. */
export async function readText(request: Request): Promise<string> {
  const announced = Number(request.headers.get('content-length') ?? 0)
  if (announced > BODY_BYTES_MAX) throw tooLarge()
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of (request.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += part.length
    if (bytes > BODY_BYTES_MAX) throw tooLarge()
    parts.push(part)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts))
  } catch (cause) {
    throw new LakeError('request.invalid', 'the body is not UTF-8', { cause })
  }
}

/** The body as JSON; the content type must say so, which a foreign web page cannot do unasked. */
export async function readJson(request: Request): Promise<unknown> {
  if (mediaType(request) !== 'application/json')
    throw new LakeError('request.invalid', 'the body must be JSON', {
      fix: 'Send the header content-type: application/json.',
    })
  const text = await readText(request)
  if (text.trim() === '') return {}
  if (nestingOf(text) > NESTING_MAX)
    throw new LakeError('request.invalid', `more than ${NESTING_MAX} brackets of the body are open at once`)
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new LakeError('request.invalid', 'the body is not JSON', { cause })
  }
}

/** How many brackets are open at once, those in strings left out. Of what is not JSON, something. */
function nestingOf(text: string): number {
  let [depth, deepest, isString] = [0, 0, false]
  for (let i = 0; i < text.length; i++) {
    const letter = text[i]
    if (letter === '"') isString = !isString
    else if (isString) i += letter === '\\' ? 1 : 0
    else if (letter === '[' || letter === '{') deepest = Math.max(deepest, ++depth)
    else if (letter === ']' || letter === '}') depth--
  }
  return deepest
}

/** `application/json` of `Application/JSON; charset=utf-8`; empty when there is none. */
export function mediaType(request: Request): string {
  return (request.headers.get('content-type') ?? '').split(';')[0]!.trim().toLowerCase()
}

function sentence(issue: z.core.$ZodIssue, where: string, known: readonly string[]): string {
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => `${where} knows no ${JSON.stringify(key)}${suggestion(key, known)}`).join('; ')
  const field = issue.path.map(String).join('.')
  return `${field === '' ? where : field}: ${issue.message}`
}

function tooLarge(): LakeError {
  return new LakeError('request.too_large', `the body has more than ${BODY_BYTES_MAX} bytes`)
}
