import { systemClock, type Clock } from '../../src/clock.ts'
import type { CliContext } from '../../src/cli/context.ts'
import { runCommand, type CliParts } from '../../src/cli/program.ts'
import type { Lake } from '../../src/index.ts'

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Parts that must not be touched; a test gives the ones that it needs. */
const untouched = (): never => {
  throw new Error('not expected here')
}
export const noParts: CliParts = {
  version: '1.2.3',
  open: untouched,
  doctor: { openStorage: untouched, openSource: untouched, assertConditionalWrites: untouched },
}

/** Runs one command line in this process, against the given world. */
export async function run(
  args: readonly string[],
  world: Partial<Omit<CliContext, 'out' | 'err'>> & {
    readonly parts?: Partial<CliParts>
    readonly clock?: Clock
    /** Told of what is written, for commands that go on. */
    readonly onText?: (to: 'out' | 'err', text: string) => void
    readonly terminal?: { readonly isTty?: boolean; readonly columns?: number; readonly hasColor?: boolean }
  } = {},
): Promise<Ran> {
  const texts = { out: '', err: '' }
  const { parts, terminal: looks, onText = () => undefined, ...rest } = world
  const terminal = (to: keyof typeof texts) => ({
    write: (text: string) => {
      texts[to] += text
      onText(to, text)
    },
    isTty: false,
    columns: 80,
    hasColor: false,
    ...looks,
  })
  const code = await runCommand(
    args,
    {
      env: {},
      folder: '/nowhere',
      clock: systemClock,
      fetch: untouched,
      signal: new AbortController().signal,
      ...rest,
      out: terminal('out'),
      err: terminal('err'),
    },
    { ...noParts, ...parts },
  )
  return { code, ...texts }
}

/** A `fetch` that answers by path and remembers what it was asked. */
export function answering(answers: Readonly<Record<string, unknown>>): {
  fetch: typeof fetch
  asked: { url: string; body: any }[]
} {
  const asked: { url: string; body: any }[] = []
  return {
    asked,
    fetch: async (input, init) => {
      const url = String(input)
      asked.push({ url, body: init?.body === undefined ? undefined : JSON.parse(String(init.body)) })
      const { pathname, search } = new URL(url)
      const answer = answers[pathname + search] ?? answers[pathname]
      if (answer instanceof Error) throw answer
      if (answer instanceof Response) return answer.clone()
      return answer === undefined
        ? Response.json({ code: 'table.unknown', detail: 'no such table' }, { status: 404 })
        : Response.json(answer)
    },
  }
}

export type FakeLake = Pick<Lake, 'pipelines' | 'sql' | 'http' | 'close'>
