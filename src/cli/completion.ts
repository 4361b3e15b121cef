import { Argument, type Command, type Option } from 'commander'
import { bashScript, fishScript, zshScript, type OptionWord, type Place } from './completion-scripts.ts'
import type { CliContext } from './context.ts'

// What a shell needs to complete a command line is written out whole: it starts no process while somebody types.

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

/** `completion bash|zsh|fish`: a script of the program's own commands and options. */
export function addCompletionCommand(program: Command, context: CliContext): void {
  program
    .command('completion')
    .description('print what completes command lines in a shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .addHelpText(
      'after',
      [
        '',
        'bash   eval "$(kappalake completion bash)"     in ~/.bashrc',
        'zsh    eval "$(kappalake completion zsh)"      in ~/.zshrc, after compinit',
        'fish   kappalake completion fish | source      in ~/.config/fish/config.fish',
      ].join('\n'),
    )
    .action((shell: Shell) => context.out.write(completionScript(program, shell)))
}

export function completionScript(program: Command, shell: Shell): string {
  const write = { bash: bashScript, zsh: zshScript, fish: fishScript }[shell]
  return write(program.name(), placesOf(program))
}

function placesOf(command: Command, at = ''): readonly Place[] {
  const argument = command.registeredArguments.flatMap(({ argChoices = [] }) => argChoices)
  const commands = command.commands.map((each) => ({ text: each.name(), description: each.description() }))
  const place = {
    at,
    commands: [...commands, ...argument.map((text) => ({ text, description: text }))],
    options: [...command.options.filter(({ hidden }) => !hidden).map(optionWord), HELP],
  }
  return [place, ...command.commands.flatMap((each) => placesOf(each, `${at}/${each.name()}`))]
}

const HELP: OptionWord = { flags: ['-h', '--help'], description: 'show help', takesValue: false, choices: [] }

function optionWord({ short, long, description, required, optional, argChoices = [] }: Option): OptionWord {
  return {
    flags: [short, long].filter((flag) => flag !== undefined),
    description,
    takesValue: required || optional,
    choices: argChoices,
  }
}
