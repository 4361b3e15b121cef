import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { LakeError } from '../error.ts'
import type { CliContext } from './context.ts'

const TEMPLATES = ['orders-json'] as const

/** `init`: a project to start from. Existing files are never overwritten. */
export function addInitCommand(program: Command, context: CliContext): void {
  program
    .command('init [folder]')
    .description('write an example project')
    .option('--template <name>', `one of: ${TEMPLATES.join(', ')}`, TEMPLATES[0])
    .action(async (folder: string | undefined, { template }: { template: string }) => {
      if (!(TEMPLATES as readonly string[]).includes(template))
        throw new LakeError('config.unsupported', `there is no template "${template}"`, {
          fix: `Templates: ${TEMPLATES.join(', ')}.`,
        })
      const target = path.resolve(context.folder, folder ?? '.')
      const written = await copyTemplate(path.join(templatesFolder(), template), target)
      const where = path.relative(context.folder, target)
      context.out.write(
        [
          ...written.map((file) => `✓ ${path.join(where, file)}`),
          `next: edit ${path.join(where, 'kappalake.yaml')}, then${where === '' ? '' : ` cd ${where} &&`} kappalake doctor && kappalake start`,
          '',
        ].join('\n'),
      )
    })
}

async function copyTemplate(from: string, to: string): Promise<string[]> {
  const files = (await readdir(from)).toSorted()
  const taken = files.find((file) => existsSync(path.join(to, file)))
  if (taken !== undefined)
    throw new LakeError('config.invalid', `${path.join(to, taken)} exists already`, {
      fix: 'Name another folder: kappalake init <folder>.',
    })
  await mkdir(to, { recursive: true })
  for (const file of files) await writeFile(path.join(to, file), await readFile(path.join(from, file)), { flag: 'wx' })
  return files
}

/** infra/templates of this installation: beside dist/, or above src/cli/ where TypeScript runs as it is. */
function templatesFolder(): string {
  const here = path.dirname(fileURLToPath(import.meta.url))
  return path.resolve(here, path.basename(here) === 'cli' ? '../..' : '..', 'infra/templates')
}
