// Writes docs/kappalake.schema.json, the JSON Schema of a configuration file, from the code that checks it.
import { rm, writeFile } from 'node:fs/promises'
import { build } from 'esbuild'

const { outputFiles } = await build({
  entryPoints: ['src/config-schema.ts'],
  bundle: true,
  write: false,
  format: 'esm',
  platform: 'node',
  packages: 'external',
})
const file = new URL('../.schema.tmp.mjs', import.meta.url)
await writeFile(file, outputFiles[0].contents)
try {
  const { jsonSchema } = await import(file.href)
  await writeFile(
    new URL('../docs/kappalake.schema.json', import.meta.url),
    `${JSON.stringify(jsonSchema(), undefined, 2)}\n`,
  )
} finally {
  await rm(file, { force: true })
}
