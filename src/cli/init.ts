import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Option, type Command } from 'commander'
import { LakeError } from '../error.ts'
import { paint, type CliContext } from './context.ts'

/** Folders of infra/templates, in the order in which help lists them. */
export const TEMPLATES = {
  'orders-json': 'records of JSON, a table of them and a window over it',
  debezium: 'a change stream: a table that holds what a database holds',
  'avro-registry': 'values in Avro that name a schema of a registry',
  'embedded-hono': 'a web server of your own that holds its lake',
} as const

/** What every template has; its own files of the same name take their place. */
const COMMON = 'common'
/** What a folder may hold that a project is made in. */
const HARMLESS: readonly string[] = ['.git', '.DS_Store']
/** Packing leaves out files of this name, so it is another in the package. */
const RENAMED: Readonly<Record<string, string>> = { gitignore: '.gitignore' }

/** `init`: a project to start from, in a folder that is empty. */
export function addInitCommand(program: Command, context: CliContext, version: string): void {
  program
    .command('init [folder]')
    .description('write a project to start from')
    .addOption(
      new Option('--template <name>', 'what it is about')
        .choices(Object.keys(TEMPLATES))
        .default('orders-json', 'orders-json'),
    )
    .addHelpText('after', `\nTemplates:\n${templateLines()}`)
    .action(async (folder: string | undefined, { template }: { template: keyof typeof TEMPLATES }) => {
      const target = path.resolve(context.folder, folder ?? '.')
      await assertEmpty(target)
      const files = await filesOf(template, {
        name: packageName(path.basename(target)),
        kappalake: dependencyOn(version),
      })
      await mkdir(target, { recursive: true })
      for (const [file, text] of files) await writeFile(path.join(target, file), text, { flag: 'wx' })
      const where = path.relative(context.folder, target)
      context.out.write(
        [
          ...[...files.keys()].map((file) => `${paint('✓', 'green', context.out.hasColor)} ${path.join(where, file)}`),
          `next: ${where === '' ? '' : `cd ${where} && `}npm install, and what README.md says`,
          '',
        ].join('\n'),
      )
    })
}

function templateLines(): string {
  return Object.entries(TEMPLATES)
    .map(([name, what]) => `  ${name.padEnd(15)} ${what}`)
    .join('\n')
}

/** A project is written whole or not at all, and never into another one. */
async function assertEmpty(target: string): Promise<void> {
  if (!existsSync(target)) return
  const taken = (await readdir(target)).filter((file) => !HARMLESS.includes(file)).toSorted()
  if (taken.length === 0) return
  const more = taken.length > 1 ? ` and ${taken.length - 1} more` : ''
  throw new LakeError('config.invalid', `${target} is not empty: ${taken[0]}${more}`, {
    fix: 'Name a new folder: kappalake init <folder>.',
  })
}

/** File names and texts of a template, in the order of their names. */
async function filesOf(
  template: string,
  values: Readonly<Record<string, string>>,
): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>()
  for (const folder of [COMMON, template].map((name) => path.join(templatesFolder(), name)))
    for (const file of await readdir(folder)) {
      const text = await readFile(path.join(folder, file), 'utf8')
      files.set(
        RENAMED[file] ?? file,
        text.replaceAll(/\{\{(\w+)\}\}/g, (whole, name: string) => values[name] ?? whole),
      )
    }
  return new Map([...files].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

/** The name of a folder as npm takes it for a package. */
export function packageName(folder: string): string {
  const name = folder
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, '-')
    .replace(/^[._-]+/, '')
    .slice(0, 200)
  return name === '' ? 'my-lake' : name
}

/** What package.json says: the version; of what no registry has, a working copy or a tarball, where it is. */
export function dependencyOn(version: string, root = installation()): string {
  if (existsSync(path.join(root, 'src/main.ts'))) return `file:${root}`
  const tarball = installedFrom(root)
  return tarball === undefined ? version : `file:${tarball}`
}

/** The tarball that npm installed this package from, by the lock file that it keeps beside packages. */
function installedFrom(root: string): string | undefined {
  const modules = path.dirname(root)
  try {
    const { packages } = JSON.parse(readFileSync(path.join(modules, '.package-lock.json'), 'utf8')) as {
      readonly packages: Readonly<Record<string, { readonly resolved?: string }>>
    }
    const { resolved = '' } = packages[`node_modules/${path.basename(root)}`] ?? {}
    const file = path.resolve(path.dirname(modules), resolved.slice('file:'.length))
    return /^file:.*\.t(ar\.)?gz$/.test(resolved) && existsSync(file) ? file : undefined
  } catch {
    // Another package manager, or a global installation, keeps no such file.
    return undefined
  }
}

function templatesFolder(): string {
  return path.join(installation(), 'infra/templates')
}

/** The folder of this package: above dist/, or above src/cli/ where TypeScript runs as it is. */
function installation(): string {
  const here = path.dirname(fileURLToPath(import.meta.url))
  return path.resolve(here, path.basename(here) === 'cli' ? '../..' : '..')
}
