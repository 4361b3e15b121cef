// `node infra/reference.mjs`: writes docs/reference/ from the code: every setting from the schema that checks it, every
// operation from the description that the server gives of itself, every export with its docstring.
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const MADE = 'Made from the code by `node infra/reference.mjs`; do not edit.'
const ENTRIES = {
  kappalake: 'src/index.ts',
  'kappalake/client': 'src/client/client.ts',
  'kappalake/testing': 'src/testing.ts',
}

/** Pages by their file names, from the JSON Schema of configurations and the OpenAPI description of the server. */
export function referencePages(schema, openapi) {
  return { 'settings.md': settingsPage(schema), 'http.md': httpPage(openapi), 'typescript.md': typescriptPage() }
}

function settingsPage({ properties }) {
  const { pipelines, ...settings } = properties
  const { tables, windows, ...pipeline } = pipelines.additionalProperties.properties
  const sections = [
    ['Settings', settings],
    ['Of a pipeline', pipeline],
    ['Of a table', tables.additionalProperties.properties],
    ['Of a window', windows.additionalProperties.properties],
  ]
  return [
    `# Every key of a configuration\n\n${MADE} What each means: [config.md](../config.md), of windows [windows.md](../windows.md#keys).`,
    ...sections.map(([title, keys]) => `## ${title}\n\n${table(['key', 'type', 'default'], keyRows(keys, ''))}`),
  ].join('\n\n')
}

function keyRows(properties, above) {
  return Object.entries(properties).flatMap(([key, node]) => {
    const name = above + key
    const inner = [node, ...(node.anyOf ?? [])].filter((each) => each.properties !== undefined)
    const plain = typeOf(node)
    const own = plain === '' ? [] : [[code(name), plain, node.default === undefined ? '' : code(node.default)]]
    const below = new Map(inner.flatMap((each) => keyRows(each.properties, `${name}.`)).map((row) => [row[0], row]))
    return [...own, ...below.values()]
  })
}

/** In words; empty for an object whose keys stand in rows of their own. */
function typeOf(node) {
  const alternatives = node.anyOf ?? node.oneOf
  if (alternatives !== undefined)
    return [...new Set(alternatives.map(typeOf))].filter((text) => text !== '').join(' or ')
  if (node.enum !== undefined) return node.enum.map(code).join(' ')
  if (node.const !== undefined) return code(node.const)
  if (node.properties !== undefined) return ''
  if (node.type === 'array') return `list of ${typeOf(node.items ?? {}) || 'objects'}`
  if (node.type === 'object') return `${typeOf(node.additionalProperties || {}) || 'object'} by name`
  return [node.type ?? 'any'].flat().join(' or ')
}

function httpPage({ paths }) {
  const rows = Object.entries(paths).flatMap(([at, operations]) =>
    Object.entries(operations).map(([method, { operationId, summary, security, responses }]) => {
      const scopes = security.flatMap(({ key }) => key)
      const access = security.length === 0 ? 'everybody' : scopes.length === 0 ? 'any key' : scopes.map(code).join(' ')
      const problems = Object.entries(responses)
        .filter(([status]) => Number(status) >= 400)
        .flatMap(([, { description }]) => description.split(', '))
        .filter((problem) => !COMMON.has(problem))
      return [`${method.toUpperCase()} ${code(at)}`, code(operationId), summary, access, problems.map(code).join(' ')]
    }),
  )
  const intro = `${MADE} What a schema cannot say: [http.md](../http.md). Requests and answers in full: \`/openapi.json\`. Besides its own problems any operation answers ${[...COMMON].map(code).join(' ')}: [errors.md](../errors.md). \`kappalake/client\` calls an operation by its id.`
  return `# Every operation of the HTTP API\n\n${intro}\n\n${table(['operation', 'id', 'does', 'needs', 'own problems'], rows)}`
}
const COMMON = new Set(['request.invalid', 'request.forbidden', 'auth.missing', 'auth.invalid', 'auth.forbidden'])

function typescriptPage() {
  const sections = Object.entries(ENTRIES).map(([name, file]) => {
    const rows = exportsOf(file)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([exported, kind, says]) => [code(exported), kind, says])
    return `## ${name}\n\n${table(['export', 'kind', 'is'], rows)}`
  })
  const intro = `${MADE} How they are used: [embedding.md](../embedding.md), [testing.md](../testing.md). The types say the rest, in your editor.`
  return [`# Every export\n\n${intro}`, ...sections].join('\n\n')
}

/** `[name, kind, first paragraph of the docstring]` of all that a module exports, wherever it is declared. */
function exportsOf(file) {
  const text = readFileSync(path.join(root, file), 'utf8')
  const lists = [...text.matchAll(/^export (?:type )?\{([^}]*)\}(?: from '(\.[^']+)')?/gm)].flatMap(([, names, from]) =>
    namesIn(names).map(({ name, alias }) => [alias, from ?? importedFrom(text, name), name]),
  )
  const all = [...text.matchAll(/^export (?:type )?\* from '(\.[^']+)'/gm)].flatMap(([, from]) =>
    exportsOf(beside(file, from)),
  )
  const own = [...text.matchAll(DECLARATION)].map(([, , name]) => declared(file, name))
  return [
    ...own,
    ...lists.map(([alias, from, name]) => [alias, ...declared(beside(file, from), name).slice(1)]),
    ...all,
  ]
}

const DECLARATION = /^export (?:declare )?(?:async )?(function|const|class|interface|type) (\w+)/gm

function declared(file, name) {
  const text = readFileSync(path.join(root, file), 'utf8')
  const pattern = new RegExp(
    `(?:/\\*\\*((?:(?!\\*/)[^])*)\\*/\\n)?^(?:export )?(?:async )?(function|const|class|interface|type) ${name}\\b`,
    'm',
  )
  const found = pattern.exec(text)
  if (found !== null) return [name, found[2], paragraph(found[1] ?? '') || fieldsOf(text.slice(found.index))]
  const again = [...text.matchAll(/^export (?:type )?\{([^}]*)\}(?: from '(\.[^']+)')?/gm)].find(([, names]) =>
    namesIn(names).some(({ alias }) => alias === name),
  )
  if (again === undefined) throw new Error(`${file} does not declare ${name}`)
  const { name: there } = namesIn(again[1]).find(({ alias }) => alias === name)
  return declared(beside(file, again[2] ?? importedFrom(text, there)), there)
}

/** Stands for a docstring where the names of the fields are all there is to say. */
function fieldsOf(text) {
  const [, body = ''] = /^[^\n]*interface [^\n]*\{\n([^]*?)^\}/.exec(text) ?? []
  const names = [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??[:(<]/gm)].map(([, name]) => code(name))
  return names.length === 0 ? '' : `Of ${[...new Set(names)].join(', ')}.`
}

function namesIn(list) {
  const words = list.split(',').map((each) => each.trim().replace(/^type /, ''))
  return words
    .filter((each) => each !== '')
    .map((each) => {
      const [name, alias = name] = each.split(' as ')
      return { name, alias }
    })
}

function importedFrom(text, name) {
  const found = [...text.matchAll(/^import (?:type )?\{([^}]*)\} from '(\.[^']+)'/gm)].find(([, names]) =>
    namesIn(names).some(({ alias }) => alias === name),
  )
  if (found === undefined) throw new Error(`${name} is exported, and from nowhere`)
  return found[2]
}

function beside(file, from) {
  const target = path.join(path.dirname(file), from)
  if (!existsSync(path.join(root, target))) throw new Error(`${target} is missing`)
  return target
}

function paragraph(docstring) {
  const lines = docstring.split('\n').map((line) => line.replace(/^\s*\* ?/, '').trim())
  const text = lines.join('\n').trim().split('\n\n')[0]
  return text.replaceAll('\n', ' ').replaceAll(/\{@link (\w+)\}/g, '$1')
}

const code = (value) => `\`${typeof value === 'object' ? JSON.stringify(value) : String(value)}\``
const cell = (text) => String(text).replaceAll('|', '\\|')
const table = (head, rows) =>
  `${[head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n')}`

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const contents = `export { jsonSchema } from './src/config-schema.ts'
export { operationsOf } from './src/server/app.ts'
export { openapi } from './src/server/openapi.ts'`
  const bundled = await build({
    stdin: { contents, resolveDir: root },
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    packages: 'external',
  })
  const file = path.join(root, '.reference.tmp.mjs')
  await writeFile(file, bundled.outputFiles[0].contents)
  try {
    const { jsonSchema, operationsOf, openapi } = await import(file)
    const folder = path.join(root, 'docs/reference')
    await mkdir(folder, { recursive: true })
    for (const [name, text] of Object.entries(referencePages(jsonSchema(), openapi(operationsOf({})))))
      await writeFile(path.join(folder, name), `${text}\n`)
  } finally {
    await rm(file, { force: true })
  }
}
