import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..')

/** Node 20 runs no TypeScript: what is measured is bundled next to the packages that it imports, and loaded from there. */
export async function loadSource(contents, name) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root, loader: 'ts' },
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    write: false,
  })
  // Several processes may do this at the same time.
  const file = path.join(root, `dist/bench/${name}-${process.pid}.mjs`)
  await mkdir(path.dirname(file), { recursive: true })
  await writeFile(file, outputFiles[0].contents)
  return import(pathToFileURL(file).href)
}
