import { Command, CommanderError } from 'commander'
import { asLakeError } from '../error.ts'
import { addCompletionCommand } from './completion.ts'
import { errorText, EXIT, exitCodeOf, type CliContext } from './context.ts'
import { addDeadLetterCommands } from './dead-letters.ts'
import { addDemoCommand } from './demo.ts'
import { addDevCommand } from './dev.ts'
import { addDoctorCommand, type DoctorParts } from './doctor.ts'
import { addInitCommand } from './init.ts'
import { addKeyCommand } from './key.ts'
import { addOperateCommands } from './operate.ts'
import { addReadCommands } from './read.ts'
import { addReplayCommands } from './replay.ts'
import type { OpenLake } from './serve.ts'
import { addStartCommands } from './start.ts'

/** What the commands are made of beside themselves. */
export interface CliParts {
  readonly open: OpenLake
  readonly doctor: DoctorParts
  readonly version: string
}

/** Runs one command line and resolves with its exit code; it never throws and never ends the process. */
export async function runCommand(args: readonly string[], context: CliContext, parts: CliParts): Promise<number> {
  let code: number = EXIT.ok
  const exit = (given: number): void => void (code = given)
  try {
    await buildProgram(context, parts, exit).parseAsync([...args], { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
    context.err.write(errorText(error, context.err.hasColor))
    return exitCodeOf(asLakeError(error))
  }
}

function buildProgram(context: CliContext, parts: CliParts, exit: (code: number) => void): Command {
  const program = new Command('kappalake')
    .description('Kafka topics become transactional Apache Iceberg tables, exactly once')
    .version(parts.version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.out.write(text),
      writeErr: (text) => context.err.write(text),
    })
    .showSuggestionAfterError()
    .showHelpAfterError('(add --help for what is there)')
    .addHelpText(
      'after',
      '\nExit: 0 done · 1 failed · 2 wrong usage · 3 not ready. KAPPALAKE_URL names the server of reading commands, KAPPALAKE_TOKEN its key.',
    )
  addDemoCommand(program, context, parts.open, exit)
  addInitCommand(program, context, parts.version)
  addKeyCommand(program, context)
  addDevCommand(program, context, parts.open)
  addStartCommands(program, context, parts.open)
  addDoctorCommand(program, context, parts.doctor, exit)
  addReadCommands(program, context)
  addOperateCommands(program, context)
  addDeadLetterCommands(program, context)
  addReplayCommands(program, context, exit)
  addCompletionCommand(program, context)
  return program
}
