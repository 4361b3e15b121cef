import { Command, CommanderError, type Argument } from 'commander'
import { asLakeError } from '../error.ts'
import { addCompletionCommand } from './completion.ts'
import { errorText, EXIT, exitCodeOf, paint, type CliContext } from './context.ts'
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
    context.err.write(errorText(error, context.err))
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
      // No terminal tells of a width: then as wide as all of them are.
      getOutHelpWidth: () => (context.out.isTty ? context.out.columns : HELP_COLUMNS),
      getErrHelpWidth: () => (context.err.isTty ? context.err.columns : HELP_COLUMNS),
      outputError: (text, write) => write(`${paint('✗', 'red', context.err.hasColor)} ${text.replace(/^error: /, '')}`),
    })
    // That a command has options, its own help says.
    .configureHelp({
      subcommandTerm: (command) => [command.name(), ...command.registeredArguments.map(argumentText)].join(' '),
    })
    .showSuggestionAfterError()
    .showHelpAfterError('(add --help for what is there)')
    .addHelpText(
      'after',
      '\nExit: 0 done · 1 failed · 2 wrong usage · 3 not ready\nKAPPALAKE_URL names the server of reading commands, KAPPALAKE_TOKEN its key.',
    )
  addDemoCommand(program, context, parts.open, exit)
  addInitCommand(program, context, parts.version)
  addDevCommand(program, context, parts.open)
  addStartCommands(program, context, parts.open)
  addDoctorCommand(program, context, parts.doctor, exit)
  addReadCommands(program, context)
  addReplayCommands(program, context, exit)
  addOperateCommands(program, context)
  addDeadLetterCommands(program, context)
  addKeyCommand(program, context)
  addCompletionCommand(program, context)
  for (const [heading, names] of Object.entries(GROUPS))
    for (const command of program.commands) if (names.includes(command.name())) command.helpGroup(heading)
  return program
}

const HELP_COLUMNS = 80

function argumentText(argument: Argument): string {
  return argument.required ? `<${argument.name()}>` : `[${argument.name()}]`
}

/** How the commands are listed: what somebody new needs comes first. What is in none stands under "Commands:". */
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  'Begin:': ['demo', 'init', 'doctor'],
  'Run:': ['start', 'dev', 'config'],
  'Read:': ['query', 'tables', 'windows', 'snapshots', 'diff'],
  'Pipelines:': ['pipelines', 'versions', 'pause', 'resume', 'flush', 'restart', 'rollback'],
  'History:': ['replay', 'verify'],
  'Care:': ['dlq', 'compact', 'expire', 'jobs', 'key'],
}
