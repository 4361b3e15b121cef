import { openapi } from '../../src/server/openapi.ts'
import type { Operation } from '../../src/server/operation.ts'

/** What answers are called that several operations give, by one that gives it. */
const NAMES: Readonly<Record<string, string>> = {
  getPipeline: 'PipelineJson',
  getTable: 'TableJson',
  getJob: 'JobJson',
  getReplay: 'ReplayJson',
  flushPipeline: 'VersionJson',
  getQuery: 'RunningQueryJson',
  query: 'ResultJson',
  diffReplay: 'ReplayDifferenceJson',
  diffTable: 'TableDifferenceJson',
  listDeadLetters: 'DeadLettersJson',
  listSnapshots: 'SnapshotsJson',
  listVersions: 'VersionsJson',
  listWindows: 'WindowsJson',
}

type Schema = { readonly [key: string]: any }

/** Files of the client, by name: from the description that the server gives of itself. */
export function clientFiles(operations: readonly Operation[]): Readonly<Record<'shapes' | 'operations', string>> {
  const { paths } = openapi(operations) as { readonly paths: Record<string, Record<string, Schema>> }
  const described = operations
    .map((operation) => ({ operation, schema: paths[operation.path]![operation.method]! }))
    .toSorted((a, b) => (a.operation.id < b.operation.id ? -1 : 1))
  const answers = new Map(described.map(({ operation, schema }) => [operation.id, answerOf(operation, schema)]))
  const named = Object.entries(NAMES).map(([id, name]) => ({ name, text: answers.get(id)! }))
  const short = (text: string): string =>
    named.reduce((result, { name, text: whole }) => (whole === text ? name : result.replaceAll(whole, name)), text)
  const types = described.map(({ operation, schema }) => {
    const parts = [
      ...partOf(
        'path',
        schema['parameters'].filter((each: Schema) => each['in'] === 'path'),
      ),
      ...partOf(
        'query',
        schema['parameters'].filter((each: Schema) => each['in'] === 'query'),
      ),
      ...bodyOf(operation, schema),
      `readonly answer: ${short(answers.get(operation.id)!)}`,
    ]
    return `/** ${operation.summary} */\nreadonly ${operation.id}: { ${parts.join('; ')} }`
  })
  const routes = described.map(({ operation: { id, method, path } }) => `${id}: ['${method.toUpperCase()}', '${path}']`)
  const shapes = named.map(({ name, text }) => {
    const inner = named
      .filter((each) => each.name !== name)
      .reduce((result, each) => result.replaceAll(each.text, each.name), text)
    return `export type ${name} = ${inner}`
  })
  return {
    shapes: [HEAD, ...shapes].join('\n\n'),
    operations: [
      HEAD,
      `import type { ${named
        .map(({ name }) => name)
        .toSorted()
        .join(', ')} } from './shapes.ts'`,
      `/** What each operation takes and gives. */\nexport interface Operations { ${types.join('\n')} }`,
      `/** How each is asked for. */\nexport const ROUTES = { ${routes.join(', ')} } as const`,
    ].join('\n\n'),
  }
}

const HEAD =
  '// Written from what the server says of itself, by `UPDATE=1 npx vitest run test/client/operations.test.ts`.'

/** Of a verb that takes none, an empty one is sent. */
function bodyOf({ body }: Operation, schema: Schema): string[] {
  if (body === undefined || Object.keys(body.shape).length === 0) return []
  return [`readonly body: ${typeOf(schema['requestBody'].content['application/json'].schema)}`]
}

/** Apart from blanks and what a formatter adds or takes. */
export function bare(text: string): string {
  return text.replaceAll(/\/\*\*[\s\S]*?\*\/|\/\/.*|[\s;,|()'"]/g, '')
}

function answerOf({ status, media }: Operation, schema: Schema): string {
  return media[0] === 'application/json'
    ? typeOf(schema['responses'][status].content['application/json'].schema)
    : 'string'
}

function partOf(name: string, parameters: readonly Schema[]): string[] {
  if (parameters.length === 0) return []
  const fields = parameters.map(({ name: field, required, schema }) => fieldOf(field, typeOf(schema), required))
  const isOptional = parameters.every(({ required }) => required !== true)
  return [`readonly ${name}${isOptional ? '?' : ''}: { ${fields.join('; ')} }`]
}

function typeOf(schema: Schema): string {
  if (schema['const'] !== undefined) return JSON.stringify(schema['const'])
  if (schema['enum'] !== undefined) return schema['enum'].map((each: unknown) => JSON.stringify(each)).join(' | ')
  const either = schema['anyOf'] ?? schema['oneOf']
  if (either !== undefined) return either.map(typeOf).join(' | ')
  if (Array.isArray(schema['type']))
    return schema['type'].map((type: string) => typeOf({ ...schema, type })).join(' | ')
  switch (schema['type']) {
    case 'string':
    case 'boolean':
    case 'null':
      return schema['type']
    case 'number':
    case 'integer':
      return 'number'
    case 'array': {
      const items = schema['prefixItems'] ?? undefined
      if (items !== undefined) return `readonly [${items.map(typeOf).join(', ')}]`
      return `readonly (${typeOf(schema['items'] ?? {})})[]`
    }
    case 'object': {
      const { properties, additionalProperties: more } = schema
      if (properties === undefined || Object.keys(properties).length === 0)
        return more === false
          ? 'Record<string, never>'
          : `Readonly<Record<string, ${typeOf(more === true ? {} : (more ?? {}))}>>`
      const required: readonly string[] = schema['required'] ?? []
      const fields = Object.entries<Schema>(properties).map(([name, each]) =>
        fieldOf(name, typeOf(each), required.includes(name)),
      )
      return `{ ${fields.join('; ')} }`
    }
    default:
      return 'unknown'
  }
}

function fieldOf(name: string, type: string, isRequired: boolean): string {
  return `readonly ${/^\w+$/.test(name) ? name : JSON.stringify(name)}${isRequired ? '' : '?'}: ${type}`
}
