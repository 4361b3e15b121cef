/** A command with what may stand behind it. `at` is `/replay/start`; of the program itself an empty text. */
export interface Place {
  readonly at: string
  readonly commands: readonly Word[]
  readonly options: readonly OptionWord[]
}

export interface Word {
  readonly text: string
  readonly description: string
}

export interface OptionWord {
  readonly flags: readonly string[]
  readonly description: string
  readonly takesValue: boolean
  /** The values that it takes, where they are known; files otherwise. */
  readonly choices: readonly string[]
}

// All three go through the words of the line in the same way: `at` is the command that they have led to, and what may
// stand next depends on it and on the word before. (`path` would be the search path in zsh.)

export function bashScript(name: string, places: readonly Place[]): string {
  const values = valuesOf(places).map(({ before, choices }) => {
    const reply = choices.length > 0 ? `($(compgen -W ${quoted(choices.join(' '))} -- "$cur"))` : '()'
    return `    ${oneOf(before)}) COMPREPLY=${reply}; return ;;`
  })
  const words = places.map(({ at, commands, options }) => {
    const all = [...commands.map(({ text }) => text), ...options.flatMap(({ flags }) => flags)]
    return `    ${quoted(at)}) COMPREPLY=($(compgen -W ${quoted(all.join(' '))} -- "$cur")) ;;`
  })
  return `# ${name} completion for bash
_${name}() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD - 1]}" at='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at/\${COMP_WORDS[i]}" in
      ${oneOf(known(places))}) at="$at/\${COMP_WORDS[i]}" ;;
    esac
  done
  case "$at $prev" in
${values.join('\n')}
  esac
  case "$at" in
${words.join('\n')}
  esac
}
complete -o default -F _${name} ${name}
`
}

export function zshScript(name: string, places: readonly Place[]): string {
  const values = valuesOf(places).map(({ before, choices }) => {
    const add = choices.length > 0 ? `compadd -- ${choices.map(quoted).join(' ')}` : '_files'
    return `    ${oneOf(before)}) ${add}; return ;;`
  })
  const words = places.map(({ at, commands, options }) => {
    const flags = options.flatMap((option) => option.flags.map((text) => ({ ...option, text })))
    const list = (items: readonly Word[]) => `(${items.map(described).join(' ')})`
    return `    ${quoted(at)}) commands=${list(commands)} options=${list(flags)} ;;`
  })
  return `#compdef ${name}
_${name}() {
  local at='' i
  local -a commands options
  for ((i = 2; i < CURRENT; i++)); do
    case "$at/\${words[i]}" in
      ${oneOf(known(places))}) at="$at/\${words[i]}" ;;
    esac
  done
  case "$at \${words[CURRENT-1]}" in
${values.join('\n')}
  esac
  case "$at" in
${words.join('\n')}
  esac
  if [[ "\${words[CURRENT]}" == -* ]]; then
    _describe option options
  elif ((\${#commands})); then
    _describe command commands
  else
    _files
  fi
}
compdef _${name} ${name}
`
}

export function fishScript(name: string, places: readonly Place[]): string {
  const lines = places.flatMap(({ at, commands, options }) => {
    const where = `complete -c ${name} -n ${fishQuoted(`__${name}_at "${at}"`)}`
    return [
      ...commands.map(({ text, description }) => `${where} -a ${fishQuoted(text)} -d ${fishQuoted(description)}`),
      ...options.map((option) => `${where} ${fishOption(option)} -d ${fishQuoted(option.description)}`),
    ]
  })
  return `# ${name} completion for fish
function __${name}_at
  set -l at ''
  for word in (commandline -opc)[2..-1]
    if contains -- "$at/$word" ${known(places).map(fishQuoted).join(' ')}
      set at "$at/$word"
    end
  end
  test "$at" = "$argv[1]"
end
complete -c ${name} -f
${lines.join('\n')}
`
}

function fishOption({ flags, takesValue, choices }: OptionWord): string {
  const names = flags.map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`))
  if (choices.length > 0) return [...names, `-x -a ${fishQuoted(choices.join(' '))}`].join(' ')
  return [...names, ...(takesValue ? ['-r -F'] : [])].join(' ')
}

/** Options that a value follows, as the place and the flag before it. */
function valuesOf(places: readonly Place[]): { before: readonly string[]; choices: readonly string[] }[] {
  return places.flatMap(({ at, options }) =>
    options
      .filter(({ takesValue }) => takesValue)
      .map(({ flags, choices }) => ({ before: flags.map((flag) => `${at} ${flag}`), choices })),
  )
}

/** All places but the program itself: words of a line that lead from one to the next. */
function known(places: readonly Place[]): string[] {
  return places.slice(1).map(({ at }) => at)
}

function oneOf(texts: readonly string[]): string {
  return texts.map(quoted).join(' | ')
}

/** For zsh, where a colon parts a word from its description. */
function described({ text, description }: Word): string {
  return quoted(`${text.replaceAll(':', '\\:')}:${description}`)
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

function fishQuoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
