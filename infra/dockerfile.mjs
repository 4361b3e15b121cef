// What a Dockerfile says, as far as tests and infra/check/container.mjs need it.

/**
 * @param {string} text
 * @returns {{ name: string | undefined, image: string, steps: { op: string, flags: Record<string, string>, args: string[], text: string }[] }[]}
 *   The stages in order, with arguments that have a default put in.
 */
export function readDockerfile(text) {
  const stages = []
  const defaults = {}
  const lines = text
    .replaceAll(/^\s*#.*\n?/gm, '')
    .replaceAll(/\\\n/g, ' ')
    .split('\n')
  for (const line of lines) {
    const [, op, rest] = /^\s*([A-Z]+)\s+(.*\S)\s*$/.exec(line) ?? []
    if (op === undefined) {
      if (line.trim() !== '') throw new Error(`not an instruction: ${line}`)
      continue
    }
    const value = rest.replaceAll(/\$\{(\w+)\}/g, (whole, name) => defaults[name] ?? whole)
    if (op === 'ARG') {
      const [name, given = ''] = value.split('=')
      defaults[name] = given
    } else if (op === 'FROM') {
      const [image, , name] = value.split(/\s+/)
      stages.push({ name, image, steps: [] })
    } else stages.at(-1).steps.push({ op, ...flagsAndWords(value), text: value })
  }
  return stages
}

function flagsAndWords(text) {
  const flags = {}
  let rest = text
  for (let match; (match = /^--([a-z-]+)=(\S+)\s+/.exec(rest)); rest = rest.slice(match[0].length))
    flags[match[1]] = match[2]
  return { flags, args: rest.startsWith('[') ? JSON.parse(rest) : rest.split(/\s+/) }
}

/**
 * Whether a path of the context reaches the build, by the patterns of .dockerignore that this repository uses: `*`, and
 * `!path` for a file or a folder with all that is in it.
 */
export function isInContext(ignore, file) {
  const patterns = ignore.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'))
  if (patterns[0] !== '*') throw new Error('.dockerignore is read as a list of what is let in')
  const letIn = patterns.slice(1).map((pattern) => {
    if (!pattern.startsWith('!')) throw new Error(`a pattern that is not read: ${pattern}`)
    return pattern.slice(1)
  })
  return letIn.some((path) => file === path || file.startsWith(`${path}/`))
}
