import * as z from 'zod'
import type { Operation } from './operation.ts'
import { statusOf } from './problem.ts'
import { softwareVersion } from './software.ts'

const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    instance: z.string().optional(),
    code: z.string(),
    retryable: z.boolean(),
    fix: z.string().optional(),
    queryId: z.string().optional(),
  })
  .loose()

const AUTH_PROBLEMS = ['auth.missing', 'auth.invalid', 'auth.forbidden'] as const

/** OpenAPI 3.1 of the operations, from the schemas that check the requests. */
export function openapi(operations: readonly Operation[]): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const each of operations) (paths[each.path] ??= {})[each.method] = describe(each)
  return {
    openapi: '3.1.0',
    info: { title: 'kappalake', version: softwareVersion(), license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas: { Problem: jsonSchema(problemSchema) },
      securitySchemes: {
        key: { type: 'http', scheme: 'bearer', description: 'A key `id.secret`, where the server asks for keys' },
      },
    },
  }
}

function describe(operation: Operation): object {
  const { id, summary, access, params, query, body, answer, status, headers, media } = operation
  return {
    operationId: id,
    summary,
    // The scopes that the key needs, all of them.
    security: access === 'public' ? [] : [{ key: access === 'key' ? [] : access }],
    parameters: [...parametersOf(params, 'path'), ...parametersOf(query, 'query'), ...headersOf(headers)],
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: jsonSchema(body, 'input') } } } }),
    responses: {
      [status]: {
        description: summary,
        content: Object.fromEntries(
          media.map((type) => [type, { schema: type.includes('json') ? jsonSchema(answer) : { type: 'string' } }]),
        ),
      },
      ...problemsOf(operation),
    },
  }
}

function problemsOf({ access, problems }: Operation): Record<string, object> {
  const byStatus = new Map<number, string[]>()
  const refusals = access === 'public' ? (['auth.invalid'] as const) : AUTH_PROBLEMS
  for (const code of ['request.invalid', 'request.forbidden', ...refusals, ...problems] as const)
    byStatus.set(statusOf(code), [...(byStatus.get(statusOf(code)) ?? []), code])
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => [
      status,
      {
        description: codes.join(', '),
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    ]),
  )
}

function parametersOf(shape: z.ZodObject | undefined, place: 'path' | 'query'): object[] {
  if (shape === undefined) return []
  const { properties = {}, required = [] } = jsonSchema(shape, 'input') as {
    readonly properties?: Record<string, { readonly description?: string }>
    readonly required?: readonly string[]
  }
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    ...(schema.description === undefined ? {} : { description: schema.description }),
    schema,
  }))
}

function headersOf(headers: Operation['headers']): object[] {
  return Object.entries(headers).map(([name, description]) => ({
    name,
    in: 'header',
    required: false,
    description,
    schema: { type: 'string' },
  }))
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output' = 'output'): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' })
  return rest
}
