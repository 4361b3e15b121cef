import { openKafka } from '../../src/ingest/kafka.ts'
import { systemClock } from '../../src/clock.ts'
import type { TestKafka } from './kafka.ts'
import { until } from './processes.ts'
import { readTopic } from './read-topic.ts'

/**
 * The commands of Apache Kafka that guides tell people to type, done by our client: each would cost a Java machine. What
 * is not known here is refused, so that nothing stands in a guide that nobody has run.
 */
export async function kafkaShell(text: string, kafka: TestKafka): Promise<string> {
  let printed = ''
  for (const { program, options, input } of commandsOf(text)) {
    const run = PROGRAMS[program]
    if (run === undefined) throw new Error(`${program} is no command of Kafka that guides use`)
    printed += await run(options, input, kafka)
  }
  return printed
}

interface Command {
  readonly program: string
  readonly options: ReadonlyMap<string, string>
  readonly input: readonly string[]
}

/** One command a line, with the text up to END as its input. */
export function commandsOf(text: string): readonly Command[] {
  const lines = text.split('\n')
  const commands: Command[] = []
  for (let at = 0; at < lines.length; at++) {
    const [line, hasInput] = splitInput(lines[at]!)
    const [program, ...words] = line.match(/'[^']*'|[^\s'=]+='[^']*'|\S+/g) ?? []
    if (program === undefined) continue
    const last = hasInput ? lines.indexOf('END', at + 1) : at
    if (last < 0) throw new Error(`${program}: its input has no end`)
    commands.push({ program, options: optionsOf(words), input: lines.slice(at + 1, last) })
    at = last
  }
  return commands
}

function splitInput(line: string): readonly [string, boolean] {
  const marker = " <<'END'"
  return line.endsWith(marker) ? [line.slice(0, -marker.length), true] : [line, false]
}

function optionsOf(words: readonly string[]): ReadonlyMap<string, string> {
  const options = new Map<string, string>()
  for (let at = 0; at < words.length; at++) {
    const name = words[at]!
    if (FLAGS.has(name)) options.set(name, '')
    else if (OPTIONS.has(name)) options.set(name, words[++at] ?? '')
    else if (name === '--reader-property') {
      const [property, value = ''] = words[++at]!.split('=')
      if (!PROPERTIES.has(property!)) throw new Error(`${property} is no property that guides use`)
      options.set(property!, value.replaceAll("'", ''))
    } else throw new Error(`${name} is no option that guides use`)
  }
  return options
}

const FLAGS = new Set(['--create', '--from-beginning'])
const OPTIONS = new Set(['--bootstrap-server', '--topic', '--partitions', '--max-messages'])
const PROPERTIES = new Set(['parse.key', 'key.separator', 'null.marker'])
const LIMIT_MS = 60_000

type Program = (options: ReadonlyMap<string, string>, input: readonly string[], kafka: TestKafka) => Promise<string>

const PROGRAMS: Readonly<Record<string, Program>> = {
  'kafka-topics.sh': async (options, _input, kafka) => {
    await kafka.createTopic(options.get('--topic')!, Number(options.get('--partitions') ?? 1))
    return ''
  },
  'kafka-console-producer.sh': async (options, input, kafka) => {
    const separator = options.get('key.separator') ?? '\t'
    const records = input.map((line) => {
      const at = options.get('parse.key') === 'true' ? line.indexOf(separator) : -1
      const value = line.slice(at < 0 ? 0 : at + separator.length)
      return {
        timestampMs: systemClock.nowMs(),
        key: at < 0 ? undefined : Buffer.from(line.slice(0, at)),
        value: value === options.get('null.marker') ? undefined : Buffer.from(value),
      }
    })
    await kafka.produce(options.get('--topic')!, 0, records)
    return ''
  },
  'kafka-console-consumer.sh': async (options, _input, kafka) => {
    const source = openKafka({ brokers: [...kafka.brokers] }, systemClock)
    const count = Number(options.get('--max-messages'))
    let values: readonly string[] = []
    try {
      await until(
        `${count} records of ${options.get('--topic')}`,
        async () => {
          const read = await readTopic(source, options.get('--topic')!)
          values = read.map(({ value }) => value ?? 'null')
          return values.length >= count
        },
        LIMIT_MS,
      )
    } finally {
      await source.close()
    }
    return values.slice(0, count).join('\n')
  },
}
