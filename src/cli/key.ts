import { randomBytes } from 'node:crypto'
import { Option, type Command } from 'commander'
import { hashOfKey, KEY_ID, keyText, SECRET_BYTES } from '../api-key.ts'
import { parseDuration } from '../define-fields.ts'
import { LakeError } from '../error.ts'
import { isScope, ROLE_NAMES, SCOPE_NAMES } from '../scopes.ts'
import type { CliContext } from './context.ts'

interface KeyOptions {
  readonly id: string
  readonly role?: string
  readonly scope?: readonly string[]
  readonly expires?: string
  readonly output: 'table' | 'json'
}

/** `key new`: a key for the HTTP API, and what the settings hold of it. Nothing is written anywhere. */
export function addKeyCommand(program: Command, context: CliContext): void {
  const key = program.command('key').description('keys of the HTTP API')
  key
    .command('new')
    .description('make a key; it is shown once, and the entry for http.keys beside it')
    .requiredOption('--id <name>', 'whose it is: grafana, backup-job')
    .addOption(new Option('--role <role>', 'what it may do').choices(ROLE_NAMES))
    .option('--scope <scope...>', 'single scopes instead of a role: query:orders metrics')
    .option('--expires <duration>', 'after which it is no longer taken: 90d')
    .addOption(new Option('-o, --output <format>', 'how it is printed').choices(['table', 'json']).default('table'))
    .action((options: KeyOptions) => {
      const { id, output } = options
      const rights = rightsOf(options)
      if (!KEY_ID.test(id))
        throw usage(`"${id}" is not an id`, 'Use lower-case letters, digits, dashes and underscores.')
      const text = keyText(id, randomBytes(SECRET_BYTES))
      const entry = { id, sha256: hashOfKey(text), ...rights, ...expiryOf(options, context.clock.nowMs()) }
      const line = JSON.stringify(entry)
      context.out.write(
        output === 'json'
          ? `${JSON.stringify({ key: text, entry })}\n`
          : `key    ${text}\nentry  ${line}\n\nThe key is not kept anywhere: give it to its user now. The entry belongs into http.keys.\n`,
      )
    })
}

function rightsOf({ role, scope }: KeyOptions): { readonly role: string } | { readonly scopes: readonly string[] } {
  if ((role === undefined) === (scope === undefined))
    throw usage('a key has either a role or scopes', `Add --role ${ROLE_NAMES.join('|')}, or --scope.`)
  if (role !== undefined) return { role }
  const wrong = scope!.find((each) => !isScope(each))
  if (wrong !== undefined) throw usage(`"${wrong}" is not a scope`, `There are ${SCOPE_NAMES.join(', ')}.`)
  return { scopes: scope! }
}

function expiryOf({ expires }: KeyOptions, nowMs: number): { readonly expires?: string } {
  return expires === undefined ? {} : { expires: new Date(nowMs + parseDuration(expires)).toISOString() }
}

function usage(message: string, fix: string): LakeError {
  return new LakeError('request.invalid', message, { fix })
}
