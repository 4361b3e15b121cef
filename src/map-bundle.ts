import { existsSync } from 'node:fs'
import path from 'node:path'
import { build } from 'esbuild'
import type { LakeDefinition, TableDefinition } from './define.ts'
import { invalidField } from './define-fields.ts'
import { tellingReads, type OnRead } from './read-files.ts'

/**
 * Puts the functions that tables name by file into the definition, each with all that it imports: what runs in lanes,
 * and what is part of the table's code. `base` is where the files are looked for. Throws `config.invalid`.
 */
export async function withMaps(
  lake: LakeDefinition,
  base: string,
  onRead: OnRead = () => undefined,
): Promise<LakeDefinition> {
  const has = lake.pipelines.some(({ tables }) => tables.some(({ map }) => map?.kind === 'file'))
  if (!has) return lake
  const pipelines = lake.pipelines.map(async (pipeline) => ({
    ...pipeline,
    tables: await Promise.all(pipeline.tables.map((table) => bundled(pipeline.name, table, base, onRead))),
  }))
  return { ...lake, pipelines: await Promise.all(pipelines) }
}

async function bundled(
  pipeline: string,
  table: TableDefinition,
  base: string,
  onRead: OnRead,
): Promise<TableDefinition> {
  if (table.map?.kind !== 'file') return table
  const at = ['pipelines', pipeline, 'tables', table.name, 'map']
  const file = path.resolve(base, table.map.file)
  onRead(file)
  if (!existsSync(file)) throw invalidField(at, `${file} does not exist`, 'Name the file of the function.')
  const result = await build({
    entryPoints: [file],
    bundle: true,
    write: false,
    // No modules of Node: a row follows from its record.
    platform: 'neutral',
    mainFields: ['module', 'main'],
    format: 'iife',
    globalName: 'bundle',
    target: 'node20',
    // Neither comments nor blanks are code.
    minifyWhitespace: true,
    legalComments: 'none',
    logLevel: 'silent',
    plugins: [tellingReads(onRead)],
  }).catch((cause: unknown) => {
    throw invalidField(
      at,
      `${table.map?.kind === 'file' ? table.map.file : ''}: ${reasonOf(cause)}`,
      'Correct the file.',
    )
  })
  const text = `(()=>{${result.outputFiles[0]!.text.trim()}\nreturn bundle.default})()`
  return { ...table, map: { kind: 'text', text } }
}

function reasonOf(cause: unknown): string {
  const [first] = (cause as { readonly errors?: readonly { readonly text: string }[] }).errors ?? []
  return first?.text ?? (cause instanceof Error ? cause.message : String(cause))
}
