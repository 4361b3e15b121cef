import type { Mutation } from '../support/mutated-bundle.ts'

/** A place in production code before or after which a process can be made to die. */
interface Site {
  readonly file: string
  readonly text: string
  readonly before?: string
  readonly after?: string
  /** What is being written, so that a case can choose; a JavaScript expression. */
  readonly detail?: string
}

const SITES: readonly Site[] = [
  {
    file: 'src/lane-child.ts',
    text: `await send({ kind: 'encoding', pipeline, task, spans: spansOf(batches) })`,
    before: 'fetched',
    after: 'announced',
  },
  {
    file: 'src/lane-child.ts',
    text: 'const staged = await encoder.encode(plan, batches, fatal, baseless, clocksMs)',
    after: 'encoded',
  },
  {
    file: 'src/ingest/decode/data-file-writer.ts',
    text: 'await storage.putFile(key, file)',
    before: 'file-written',
    after: 'file-uploaded',
  },
  {
    file: 'src/lane-child.ts',
    text: `await send({ kind: 'staged', pipeline, task, staged: sent })`,
    before: 'staged',
    after: 'handed-over',
  },
  {
    file: 'src/ingest/lane-pool.ts',
    text: 'this.#answers.push({ lane, staged: message.staged })',
    after: 'answered',
  },
  { file: 'src/ingest/committer.ts', text: 'this.#pending.add(prepared.staged)', before: 'verdict', after: 'folded' },
  {
    file: 'src/ingest/pipeline.ts',
    text: 'growing.learn(committer.tables.get(answer.table)!, answer.wanted)',
    before: 'columns-asked',
    after: 'columns-known',
  },
  {
    file: 'src/ingest/growing.ts',
    text: 'const changed = await changeTable(storage, grown, change, stamp, clock)',
    before: 'growth-before',
    after: 'growth-written',
    detail: `grown === table ? 'same' : 'grown'`,
  },
  {
    file: 'src/lake/lake-table.ts',
    text: 'await storage.put(key, encodeMetadata(raw))',
    before: 'metadata-before',
    after: 'metadata-after',
    detail: 'key',
  },
  {
    file: 'src/lake/chain.ts',
    text: 'const outcome = await this.#storage.putIfAbsent(key, bytes)',
    before: 'version-before',
    detail: 'key',
  },
  {
    file: 'src/lake/chain.ts',
    text: 'const isLate = this.#ageMs(sent) > ACK_MS_MAX',
    after: 'version-answered',
    detail: 'key',
  },
  {
    file: 'src/lake/storage/local.ts',
    text: 'const outcome = await linkOnce(temporary, target)',
    before: 'temporary-written',
    after: 'linked',
    detail: 'key',
  },
  {
    file: 'src/lake/chain.ts',
    text: 'await Promise.allSettled([own, draft.hint?.()])',
    before: 'head-hint-before',
    after: 'head-hint-after',
  },
  {
    file: 'src/ingest/committer.ts',
    text: 'await writeVersionHints(this.#storage, touched)',
    before: 'table-hints-before',
    after: 'table-hints-after',
  },
  {
    file: 'src/ingest/create-tables.ts',
    text: 'await claimTable(storage, name, definition.name, clock)',
    before: 'claim-before',
    after: 'claim-after',
  },
  {
    file: 'src/ingest/start.ts',
    text: 'const first = await firstVersion(source, { definition, storage, clock, registry }, policy)',
    before: 'first-before',
    after: 'first-after',
  },
  {
    file: 'src/ingest/finish.ts',
    text: 'const result = await committer.commit(change, signal)',
    before: 'drain-before',
    after: 'drain-after',
  },
  {
    file: 'src/ingest/compactor.ts',
    text: 'const output = merged.length === 0 ? undefined : await work().concatenate(writePlan(table), merged)',
    before: 'compaction-before',
    after: 'compacted',
  },
  {
    file: 'src/ingest/committer.ts',
    text: 'return new Map([...tables, [name, replaced]])',
    before: 'replacement-written',
  },
  {
    file: 'src/ingest/housekeeping.ts',
    text: 'const result = merging === undefined ? await committer.replace(done, signal) : undefined',
    before: 'replacement-before',
    after: 'replacement-after',
  },
  {
    file: 'src/lake/expire-versions.ts',
    text: 'await Promise.all(expired.slice(start, start + DELETES_AT_ONCE).map(({ key }) => storage.delete(key)))',
    before: 'expiry-before',
    after: 'expiry-after',
  },
  {
    file: 'src/lake/collect.ts',
    text: 'await Promise.all(round.slice(start, start + DELETES_AT_ONCE).map(({ key }) => storage.delete(key)))',
    before: 'collection-before',
    after: 'collection-after',
  },
  {
    file: 'src/ingest/rollback.ts',
    text: 'const result = await chain.append(head, { commitId, build: () => Promise.resolve(content) })',
    before: 'rollback-before',
    after: 'rollback-after',
  },
  {
    file: 'src/replay/replay-run.ts',
    text: 'if (found !== undefined) await jobs.putDifference(this.#fork.id, found)',
    before: 'compared',
    after: 'difference-written',
  },
  { file: 'src/replay/replay-run.ts', text: `this.#phase = 'cutting-over'`, before: 'caught-up' },
  {
    file: 'src/replay/cutover.ts',
    text: 'const result = await main.append(head, { commitId, build }, signal)',
    before: 'cutover-before',
    after: 'cutover-after',
  },
  {
    file: 'src/replay/replay-run.ts',
    text: 'if (fork !== undefined) await forget(storage, this.#record.job)',
    before: 'fork-dropped-before',
    after: 'fork-dropped-after',
  },
]

/** The clock of the store, for lakes whose files are to be old. */
const CLOCK_AHEAD: Mutation = {
  file: 'src/lake/expire-versions.ts',
  text: 'return probe.modifiedMs\n',
  replacement: `return probe.modifiedMs + Number(process.env['CLOCK_AHEAD_MS'] ?? 0)\n`,
}

/** Of the files that expiry lets go, the first ones and no others are gone when a process dies between them. */
const ONE_BY_ONE: readonly Mutation[] = ['src/lake/expire-versions.ts', 'src/lake/collect.ts'].map((file) => ({
  file,
  text: 'const DELETES_AT_ONCE = 16',
  replacement: 'const DELETES_AT_ONCE = 3',
}))

/** A lake without query processes: they are not what dies here, and starting them is most of a short life. */
const NO_QUERIES: Mutation = {
  file: 'src/query/pool.ts',
  text: 'await new Promise<void>((resolve, reject) => {',
  replacement: 'if (this.#options.size > 0) await new Promise<void>((resolve, reject) => {',
}

/** A data file has been flushed, and is not named yet: in the middle of a statement. */
const FLUSHED: Mutation = {
  file: 'src/lake/storage/local.ts',
  text: 'await this.#inFolder(key, flush(localPath), (target) => rename(localPath, target))',
  replacement: `await this.#inFolder(key, flush(localPath).then(() => { crashAt('file-flushed', '') }), (target) => rename(localPath, target))
    crashAt('file-named', '')`,
}

/** Places where a request is on its way when the process dies: it may arrive or not. */
const IN_FLIGHT: readonly Mutation[] = [
  {
    file: 'src/lake/puts.ts',
    text: 'const put = this.#storage.put(key, bytes)',
    replacement: `crashAt('object-before', key)
    const put = this.#storage.put(key, bytes).then(() => crashAt('object-landed', key))`,
  },
  {
    file: 'src/lake/storage/s3.ts',
    text: 'await this.put(key, await readFile(localPath))',
    replacement:
      "{ const sending = this.put(key, await readFile(localPath)); crashSoon('upload-sent', key); await sending }",
  },
  {
    file: 'src/lake/storage/s3.ts',
    text: 'await commit.send(new sdk.PutObjectCommand(input), { requestTimeout: uploadTimeoutMs(bytes.byteLength) })',
    replacement: `const sending = commit.send(new sdk.PutObjectCommand(input), { requestTimeout: uploadTimeoutMs(bytes.byteLength) })
        crashSoon('version-sent', key)
        await sending
        crashAt('version-landed', key)`,
  },
]

/** Production code with every point in it. */
export function pointMutations(): Mutation[] {
  const sites = SITES.map(({ file, text, before, after, detail = "''" }) => {
    const call = (name: string | undefined) => (name === undefined ? '' : `crashAt('${name}', ${detail});`)
    const replacement =
      after === undefined && text.endsWith(')') && !text.startsWith('await')
        ? `${call(before)}${text}`
        : `${call(before)}${text};${call(after)}`
    // An arm of an if or a loop without braces is one statement.
    return {
      file,
      text,
      replacement: text.startsWith('const') || after === undefined ? replacement : `{${replacement}}`,
    }
  })
  return [...sites, ...IN_FLIGHT, FLUSHED, NO_QUERIES, CLOCK_AHEAD, ...ONE_BY_ONE]
}

/** What a process is told in its environment, as JSON in CRASH. */
export interface CrashPlan {
  readonly point: string
  /** The detail must match. */
  readonly detail?: string
  /** Dies the n-th time it comes here. */
  readonly nth: number
  /** `tree`: a lane takes its parent along. */
  readonly victim: 'self' | 'tree'
  /** Created by whoever dies, so that his successor does not. */
  readonly marker: string
}

/** Stands before the code of every process of the bundle. */
export const CRASH_BANNER = `
import { writeFileSync as crashMark } from 'node:fs'
const crashPlan = JSON.parse(process.env.CRASH ?? 'null')
let crashCount = 0
function crashIsDue(point, detail) {
  if (crashPlan === null || crashPlan.point !== point) return false
  if (crashPlan.detail !== undefined && !new RegExp(crashPlan.detail).test(detail)) return false
  if (++crashCount !== crashPlan.nth) return false
  try { crashMark(crashPlan.marker, String(process.pid), { flag: 'wx' }) } catch { return false }
  return true
}
function crashNow() {
  if (crashPlan.victim === 'tree') process.kill(process.ppid, 'SIGKILL')
  process.kill(process.pid, 'SIGKILL')
  for (;;);
}
function crashAt(point, detail) { if (crashIsDue(point, detail)) crashNow() }
function crashSoon(point, detail) { if (crashIsDue(point, detail)) setTimeout(crashNow, 1) }
`
