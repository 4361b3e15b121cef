#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline/promises'
import { systemClock } from './clock.ts'
import { runCommand } from './cli/program.ts'
import { parts } from './cli/parts.ts'
import { errorText, type CliContext, type Terminal } from './cli/context.ts'
import { collectLate } from './garbage.ts'

collectLate()

// The AWS SDK announces on standard error which Node versions it will require one day; that is ours to know.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'

/** The composition root of the command line: the real world, and the signals of its process. */
const ending = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => {
    // A second signal means now.
    if (ending.signal.aborted) process.exit(signal === 'SIGINT' ? 130 : 143)
    ending.abort()
  })

// What nobody awaited is a defect; it is told like any other error.
for (const event of ['uncaughtException', 'unhandledRejection'] as const)
  process.on(event, (error: unknown) => {
    process.stderr.write(errorText(error, { isTty: false, columns: 80, hasColor: false }))
    if (process.env.KAPPALAKE_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`)
    process.exit(1)
  })

// A reader that goes away, such as `head`, is no failure.
process.stdout.on('error', () => process.exit(0))

const context: CliContext = {
  env: process.env,
  folder: process.cwd(),
  clock: systemClock,
  out: terminal(process.stdout),
  err: terminal(process.stderr),
  ask: process.stdin.isTTY === true && process.stderr.isTTY === true ? ask : undefined,
  fetch,
  signal: ending.signal,
}

// One folder above dist/ and above src/ alike.
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

const code = await runCommand(process.argv.slice(2), context, { ...parts, version })
// Output may still be on its way into a pipe; nothing else may hold the process.
await Promise.all([process.stdout, process.stderr].map((stream) => new Promise((done) => stream.write('', done))))
process.exit(code)

/** The question goes where no answer of a command goes. An end of the input, or of the process, is no answer. */
async function ask(question: string): Promise<string> {
  const line = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return await new Promise<string>((resolve) => {
      line.once('close', () => resolve(''))
      line.question(question, { signal: ending.signal }).then(resolve, () => resolve(''))
      // In raw mode a terminal sends no signal by itself.
      line.once('SIGINT', () => ending.abort())
    })
  } finally {
    line.close()
  }
}

function terminal(stream: NodeJS.WriteStream): Terminal {
  const isTty = stream.isTTY === true
  return {
    write: (text) => void stream.write(text),
    isTty,
    get columns() {
      return stream.columns || 80
    },
    hasColor: isTty && !process.env.NO_COLOR && process.env.TERM !== 'dumb',
  }
}
