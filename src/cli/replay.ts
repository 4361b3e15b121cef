import { Option, type Command } from 'commander'
import { LakeError } from '../error.ts'
import type { ReplayRequest } from '../replay-request.ts'
import type { DifferenceJson, ReplayJson } from '../server/replays-json.ts'
import { openClient, tokenOption, DEFAULT_URL, type Client } from './client.ts'
import { EXIT, paint, type CliContext } from './context.ts'
import { formatRows, type OutputFormat } from './output.ts'
import { outputOption, wholeNumber } from './read.ts'
import { confirm, findReplay, namesOf, pathOf, readPoint, shortId } from './replay-args.ts'
import { differenceScreen, listColumns, onScreen, stateOf } from './replay-screen.ts'
import { bar, failIfFailed, fromServer, isWaiting, lines, outcome, phases, watchReplay } from './replay-watch.ts'

const CSV_COLUMNS = [
  'id',
  'pipeline',
  'state',
  'options',
  'created',
  'ended',
  'version',
  'progress',
  'difference',
  'error',
]
const DIFFERENCE_COLUMNS = ['table', 'kind', 'rowsBefore', 'rowsAfter', 'added', 'removed', 'changed', 'columns']

interface Common {
  readonly url: string
  readonly token?: string
  readonly output: OutputFormat
  readonly yes?: boolean
}

interface StartOptions extends Common {
  readonly mode?: ReplayRequest['mode']
  readonly tables?: string[]
  readonly from?: string
  readonly to?: string
  readonly rateLimit?: number
  readonly cutover?: ReplayRequest['autoCutover']
  readonly keepOld?: string
  readonly acceptCompacted?: boolean
  readonly watch?: boolean
}

/** `replay …` and `verify`: history run again through the definition of today, by a running kappalake. */
export function addReplayCommands(program: Command, context: CliContext, exit: (code: number) => void): void {
  const replay = program
    .command('replay')
    .description('run history again beside the live tables, then take their place')
  const clientOf = ({ url, token }: Common): Client => openClient(url, context.fetch, context.signal, token)
  const tell = (replays: readonly ReplayJson[], options: Common): void =>
    context.out.write(
      isScreen(options)
        ? formatRows(listColumns(replays), replays.map(onScreen), 'table', context.out)
        : formatRows(CSV_COLUMNS, replays, options.output),
    )
  const conclude = (found: ReplayJson, options: Common): void => {
    const mark =
      found.state === 'failed' ? paint('✗', 'red', context.out.hasColor) : paint('✓', 'green', context.out.hasColor)
    if (isScreen(options)) context.out.write(outcome(found, mark))
    else tell([found], options)
  }
  /** A bar for a person; for a program a line for each change, of which the last is the outcome. */
  const look = async (client: Client, first: ReplayJson, options: Common): Promise<void> => {
    const isSeen = context.out.isTty && isScreen(options)
    const telling = isSeen ? bar(context.out) : lines(context.out)
    const found = await watchReplay(fromServer(client, context), first, context, telling, isWaiting)
    if (isSeen) conclude(found, options)
  }
  const show = async (client: Client, found: ReplayJson, options: Common): Promise<DifferenceJson> => {
    const difference = await client.get<DifferenceJson>(pathOf(found.id, 'diff'))
    context.out.write(differenceText(found, difference, options.output, context.out.hasColor))
    return difference
  }

  withScope(command(replay, 'start <pipeline>', 'rebuild tables from the log, beside the live ones'))
    .addOption(
      new Option('--mode <mode>', 'rebuild to take their place · only compare · rows of a range again')
        .choices(['reprocess', 'verify', 'range'])
        .default('reprocess'),
    )
    .option(
      '--from <where>',
      'earliest, a time, how long ago (24h), places (topic/0@12,…), or a file of offsets [earliest]',
    )
    .option('--to <where>', 'end of a range, exclusive [where the live tables stand]')
    .addOption(
      new Option('--cutover <when>', 'whether it takes the place of the live tables by itself')
        .choices(['never', 'ifEqual', 'always'])
        .default('never'),
    )
    .option('--keep-old <duration>', 'how long a cut-over can be rolled back [7d]')
    .option('--watch', 'look on until it waits for you, or is over')
    .option('--yes', 'do it without being asked again')
    .action(async (pipeline: string, options: StartOptions) => {
      if (options.cutover === 'always')
        await confirm(
          context,
          `the rebuilt tables take the place of those of ${pipeline}, whatever they hold`,
          options.yes,
        )
      const client = clientOf(options)
      const started = await client.post<ReplayJson>('/v1/replays', await requestOf(pipeline, options, context))
      if (options.watch === true) return look(client, started, options)
      conclude(started, options)
    })
  command(replay, 'list', 'replays, the newest first').action(async (options: Common) =>
    tell(await clientOf(options).list<ReplayJson>('/v1/replays', 10_000), options),
  )
  command(replay, 'show <id>', 'one replay, as it stands').action(async (id: string, options: Common) =>
    conclude(await findReplay(clientOf(options), id), options),
  )
  command(replay, 'watch <id>', 'look on until it waits for you, or is over').action(
    async (id: string, options: Common) => {
      const client = clientOf(options)
      await look(client, await findReplay(client, id), options)
    },
  )
  command(replay, 'diff <id>', 'what the rebuilt tables are, against the live ones').action(
    async (id: string, options: Common) => {
      const client = clientOf(options)
      await show(client, await findReplay(client, id), options)
    },
  )
  command(replay, 'cutover <id>', 'put the rebuilt tables in the place of the live ones')
    .option('--approve <difference>', 'accept the difference of this id')
    .option('--yes', 'accept whatever the difference is')
    .action(async (id: string, options: Common & { approve?: string }) => {
      const client = clientOf(options)
      const found = await findReplay(client, id)
      const approve =
        approved(found, options.approve) ??
        (await approval(found, options, () => show(client, found, { ...options, output: 'table' })))
      await order(
        client,
        found,
        'cutover',
        approve === undefined ? {} : { approve },
        options,
        (now) => now.cutover !== null,
      )
    })
  command(replay, 'rollback <id>', 'go back to the tables from before the cut-over')
    .option('--yes', 'do it without being asked again')
    .action(async (id: string, options: Common) => {
      const client = clientOf(options)
      const found = await findReplay(client, id)
      const to = found.cutover === null ? '' : ` of version ${found.cutover.before}`
      await confirm(context, `the tables${to} become those of ${found.pipeline} again`, options.yes)
      await order(client, found, 'rollback', {}, options, (now) => now.progress?.phase === 'rolled-back')
    })
  command(replay, 'cancel <id>', 'drop the rebuilt tables; the live ones never knew of them')
    .option('--yes', 'do it without being asked again')
    .action(async (id: string, options: Common) => {
      const client = clientOf(options)
      const found = await findReplay(client, id)
      await confirm(context, `what the replay ${shortId(found.id)} has rebuilt is thrown away`, options.yes)
      await order(client, found, 'cancel', {}, options, (now) => now.state === 'cancelled')
    })
  for (const [verb, description] of [
    ['pause', 'hold it where it is'],
    ['resume', 'go on after a pause'],
  ] as const)
    command(replay, `${verb} <id>`, description).action(async (id: string, options: Common) => {
      const client = clientOf(options)
      const found = await findReplay(client, id)
      await order(client, found, verb, {}, options, (now) => now.progress?.paused === (verb === 'pause'))
    })
  withScope(command(program, 'verify <pipeline>', 'rebuild and compare; exit 0 when equal, 1 when not')).action(
    async (pipeline: string, options: StartOptions) => {
      const client = clientOf(options)
      const request = await requestOf(pipeline, { ...options, mode: 'verify' }, context)
      const started = await client.post<ReplayJson>('/v1/replays', request)
      // The answer is the difference: how it gets on is told beside it.
      const telling = context.err.isTty ? bar(context.err) : phases(context.err)
      const found = await watchReplay(fromServer(client, context), started, context, telling, () => false)
      if (!(await show(client, found, options)).equal) exit(EXIT.failed)
    },
  )

  async function order(
    client: Client,
    found: ReplayJson,
    verb: string,
    body: object,
    options: Common,
    isDone: (now: ReplayJson) => boolean,
  ): Promise<void> {
    const given = await client.post<ReplayJson>(pathOf(found.id, verb), body)
    conclude(await untilDone(client, given, found, verb, isDone), options)
  }

  /** What was asked for is recorded; the process that does the replay finds it there. */
  async function untilDone(
    client: Client,
    given: ReplayJson,
    before: ReplayJson,
    verb: string,
    isDone: (now: ReplayJson) => boolean,
  ): Promise<ReplayJson> {
    const sinceMs = context.clock.monotonicMs()
    let isTold = false
    for (let now = given; ; now = await client.get<ReplayJson>(pathOf(given.id))) {
      if (isDone(now)) return now
      if (JSON.stringify(now.error) !== JSON.stringify(before.error)) failIfFailed(now)
      const waitedMs = context.clock.monotonicMs() - sinceMs
      if (!isTold && waitedMs >= TELL_AFTER_MS) {
        isTold = true
        context.err.write(`${verb} is recorded; waiting for the process that does it (${now.writer ?? 'none yet'})\n`)
      }
      await context.clock.sleep(ASK_EVERY_MS, context.signal)
      if (context.signal.aborted || context.clock.monotonicMs() - sinceMs > ORDER_MS_MAX)
        throw new LakeError('not_ready', `${verb} is recorded, and not done yet: the replay is ${stateOf(now)}`, {
          fix: `Is its process there? Look with "kappalake replay show ${shortId(now.id)}".`,
        })
    }
  }

  /** The id of the difference that is accepted, after a person has seen it; undefined when there is none. */
  async function approval(
    { id, difference }: ReplayJson,
    { yes }: Common,
    showIt: () => Promise<DifferenceJson>,
  ): Promise<string | undefined> {
    if (difference === null || difference.equal) return undefined
    if (yes === true) return difference.id
    if (context.ask === undefined)
      throw new LakeError('replay.diff_unapproved', 'the rebuilt tables differ from the live ones', {
        fix: `Look with "kappalake replay diff ${shortId(id)}", then add --approve ${shortId(difference.id)}.`,
      })
    const seen = await showIt()
    await confirm(context, `the replay ${shortId(id)} takes the place of the live tables`, false)
    return seen.id
  }
}

/** Shorter ones could be a slip. */
const APPROVAL_CHARS_MIN = 4

/** An id of a difference may be shortened like any other: it names the one that was found, or none. */
function approved({ difference }: ReplayJson, given: string | undefined): string | undefined {
  const isMeant = given !== undefined && given.length >= APPROVAL_CHARS_MIN && difference?.id.startsWith(given)
  return isMeant === true ? difference?.id : given
}

const ASK_EVERY_MS = 500
/** A cut-over may first wait until the fork has caught up. */
const ORDER_MS_MAX = 120_000
const TELL_AFTER_MS = 3_000

function isScreen({ output }: Common): boolean {
  return output === 'table'
}

function command(parent: Command, usage: string, description: string): Command {
  return parent
    .command(usage)
    .description(description)
    .addOption(new Option('--url <url>', 'address of the running kappalake').env('KAPPALAKE_URL').default(DEFAULT_URL))
    .addOption(tokenOption())
    .addOption(outputOption())
}

function withScope(command: Command): Command {
  return command
    .addOption(
      new Option('--tables <names>', 'tables and windows to rebuild [verify: all; else what changed]').argParser(
        namesOf,
      ),
    )
    .addOption(new Option('--rate-limit <n>', 'records a second').argParser(wholeNumber))
    .option('--accept-compacted', 'a compacted topic lacks history, and that is known')
}

async function requestOf(pipeline: string, options: StartOptions, context: CliContext): Promise<object> {
  const { mode, tables, from, to, rateLimit, cutover, keepOld, acceptCompacted } = options
  return {
    pipeline,
    mode,
    ...(tables === undefined ? {} : { tables }),
    ...(from === undefined ? {} : { from: await readPoint(from, '--from', context) }),
    ...(to === undefined ? {} : { to: await readPoint(to, '--to', context) }),
    ...(rateLimit === undefined ? {} : { rateLimit }),
    ...(cutover === undefined ? {} : { autoCutover: cutover }),
    ...(keepOld === undefined ? {} : { keepOld }),
    ...(acceptCompacted === undefined ? {} : { acceptCompacted }),
  }
}

function differenceText(
  replay: ReplayJson,
  difference: DifferenceJson,
  output: OutputFormat,
  hasColor: boolean,
): string {
  if (output === 'table') return differenceScreen(replay, difference, hasColor)
  if (output === 'json') return `${JSON.stringify(difference, undefined, 2)}\n`
  return formatRows(DIFFERENCE_COLUMNS, difference.tables, output)
}
