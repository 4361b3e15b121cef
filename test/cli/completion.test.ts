import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bashScript, fishScript, zshScript } from '../../src/cli/completion-scripts.ts'
import { run } from './support.ts'

const { out: script } = await run(['completion', 'bash'])

/** What bash itself offers behind a line. */
function offered(line: string, text = script): string[] {
  const words = line.split(' ')
  const program = `${text}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _kappalake; printf '%s\\n' "\${COMPREPLY[@]}"`
  return execFileSync('bash', ['-c', program, 'bash', ...words], { encoding: 'utf8' })
    .split('\n')
    .filter(Boolean)
}

describe('bash', () => {
  test('offers commands, what is below them, and their options', () => {
    expect(offered('kappalake ')).toEqual(
      expect.arrayContaining(['start', 'demo', 'replay', 'completion', '--version']),
    )
    expect(offered('kappalake rep')).toEqual(['replay'])
    expect(offered('kappalake replay st')).toEqual(['start'])
    expect(offered('kappalake replay start shop --mo')).toEqual(['--mode'])
    expect(offered('kappalake tables --li')).toEqual([])
    expect(offered('kappalake completion ')).toEqual(expect.arrayContaining(['bash', 'zsh', 'fish']))
  })

  test('offers the values of an option, and leaves those that are not known to the shell', () => {
    expect(offered('kappalake tables -o ')).toEqual(['table', 'json', 'ndjson', 'csv'])
    expect(offered('kappalake replay start shop --mode ver')).toEqual(['verify'])
    expect(offered('kappalake init --template ')).toContain('orders-json')
    expect(offered('kappalake start --config ')).toEqual([])
  })

  test('goes by commands, not by what stands for something else', () => {
    expect(offered('kappalake query replay --as')).toEqual(['--as-of'])
    expect(offered('kappalake rollback replay --y')).toEqual(['--yes'])
  })
})

test('every command and option is in the script of every shell', async () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { code, out } = await run(['completion', shell])
    expect(code).toBe(0)
    const { out: help } = await run(['--help'])
    const commands = [...help.matchAll(/^ {2}([a-z]+)(?: |$)/gm)]
      .map((match) => match[1]!)
      .filter((name) => name !== 'help')
    expect(commands.length).toBeGreaterThan(15)
    for (const name of commands) expect(out).toContain(name)
  }
  expect((await run(['completion', 'csh'])).code).toBe(2)
})

test('the documentation has every command, and what prints a list takes a format', async () => {
  const reference = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8')
  const { out: help } = await run(['--help'])
  const commands = [...help.matchAll(/^ {2}([a-z]+)(?: |$)/gm)]
    .map((match) => match[1]!)
    .filter((name) => name !== 'help')
  expect(commands.filter((name) => !new RegExp(`\\b${name}\\b`).test(reference))).toEqual([])
  const lists = ['query', 'tables', 'snapshots', 'diff', 'windows', 'versions', 'pipelines', 'jobs', 'doctor', 'verify']
  for (const line of [...lists, 'config print', 'replay list', 'replay show', 'replay diff'])
    expect((await run([...line.split(' '), '--help'])).out, line).toContain('-o, --output <format>')
})

// Descriptions hold quotes, dollars and backslashes one day; none of them may end a quotation.
test('no text of a description runs', () => {
  const anyText = fc.string({ unit: fc.constantFrom(...`'"\\$\`:;|&()<> \t*x`) })
  fc.assert(
    fc.property(anyText, (description) => {
      const places = [
        {
          at: '',
          commands: [{ text: 'go', description }],
          options: [{ flags: ['--flag'], description, takesValue: true, choices: ['a', 'b'] }],
        },
        { at: '/go', commands: [], options: [] },
      ]
      // Between single quotes nothing has a meaning but the quote itself, and in fish the backslash before it.
      const outside = (text: string, escape: RegExp) => text.replaceAll(escape, '').replaceAll(/'[^']*'/g, '')
      const calm = [
        {
          ...places[0]!,
          commands: [{ text: 'go', description: '' }],
          options: [{ ...places[0]!.options[0]!, description: '' }],
        },
        places[1]!,
      ]
      expect(outside(zshScript('x', places), /'\\''/g)).toBe(outside(zshScript('x', calm), /'\\''/g))
      expect(outside(fishScript('x', places), /\\[\\']/g)).toBe(outside(fishScript('x', calm), /\\[\\']/g))
      expect(bashScript('x', places)).toBe(bashScript('x', calm))
    }),
  )
})
