import http from 'node:http'
import type { AddressInfo } from 'node:net'

interface Registered {
  readonly id: number
  readonly subject: string
  readonly version: number
  readonly schema: string
  readonly schemaType: string | undefined
  readonly references: readonly unknown[]
}

/** What a registry answers instead of what it should. */
export type Mood = 'well' | 'away' | 'slow' | 'error' | 'redirect' | 'web-page' | 'endless' | 'cut'

/** A schema registry with the routes that Confluent's has, as far as readers and tests need them, in this process. */
export class RegistryServer {
  mood: Mood = 'well'
  /** Header that requests must have; undefined: none is asked for. */
  authorization: string | undefined
  /** Paths that were asked for, in order. */
  readonly asked: string[] = []
  readonly #server: http.Server
  readonly #schemas: Registered[] = []
  /** Ids that are not yet there, with how often they will be missing. */
  readonly #missing = new Map<number, number>()

  private constructor(server: http.Server) {
    this.#server = server
  }

  static async start(): Promise<RegistryServer> {
    const server = http.createServer()
    const registry = new RegistryServer(server)
    server.on('request', (request, response) => registry.#answer(request, response))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return registry
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/api`
  }

  /** Registers a schema and gives its id. */
  add(
    subject: string,
    schema: unknown,
    { type, references = [] }: { type?: string; references?: readonly unknown[] } = {},
  ): number {
    const text = typeof schema === 'string' ? schema : JSON.stringify(schema)
    const id = 100 + this.#schemas.length
    const version = 1 + this.#schemas.filter((each) => each.subject === subject).length
    this.#schemas.push({ id, subject, version, schema: text, schemaType: type, references })
    return id
  }

  /** An id is missing the next times that it is asked for. */
  hide(id: number, times: number): void {
    this.#missing.set(id, times)
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #answer({ url = '', headers }: http.IncomingMessage, response: http.ServerResponse): void {
    this.asked.push(url)
    const say = (status: number, body: unknown) => {
      response.writeHead(status, { 'content-type': 'application/vnd.schemaregistry.v1+json' })
      response.end(JSON.stringify(body))
    }
    switch (this.mood) {
      case 'away':
        return void response.destroy()
      case 'slow':
        return
      case 'error':
        return say(500, { error_code: 50001, message: 'the backend is away' })
      case 'redirect':
        response.writeHead(302, { location: `${this.url}/elsewhere` })
        return void response.end()
      case 'web-page':
        response.writeHead(404)
        return void response.end('<html>no such page</html>')
      case 'endless': {
        response.writeHead(200)
        const more = () => {
          while (!response.destroyed && response.write('x'.repeat(1 << 20)));
        }
        response.on('drain', more)
        return more()
      }
      case 'cut':
        response.writeHead(200, { 'content-length': '100' })
        response.write('{"schema":')
        return void setTimeout(() => response.destroy(), 10)
      case 'well':
    }
    if (this.authorization !== undefined && headers.authorization !== this.authorization)
      return say(401, { error_code: 401, message: 'Unauthorized' })
    const uses = /^\/api\/schemas\/ids\/(\d+)\/versions$/.exec(url)?.[1]
    if (uses !== undefined)
      return say(
        200,
        this.#schemas.filter(({ id }) => id === Number(uses)).map(({ subject, version }) => ({ subject, version })),
      )
    const found = this.#find(url)
    if (found === undefined)
      return say(404, { error_code: url.includes('/ids/') ? 40403 : 40401, message: 'not found' })
    const { schema, schemaType, references, id, subject, version } = found
    const body = {
      schema,
      ...(schemaType === undefined ? {} : { schemaType }),
      ...(references.length === 0 ? {} : { references }),
    }
    say(200, url.includes('/ids/') ? body : { ...body, id, subject, version })
  }

  #find(url: string): Registered | undefined {
    const id = /^\/api\/schemas\/ids\/(\d+)$/.exec(url)?.[1]
    if (id !== undefined) {
      const times = this.#missing.get(Number(id)) ?? 0
      this.#missing.set(Number(id), times - 1)
      return times > 0 ? undefined : this.#schemas.find((each) => each.id === Number(id))
    }
    const [, name = '', version] = /^\/api\/subjects\/([^/]+)\/versions\/(\d+|latest)$/.exec(url) ?? []
    const subject = decodeURIComponent(name)
    return this.#schemas.findLast(
      (each) => each.subject === subject && (version === 'latest' || each.version === Number(version)),
    )
  }
}

/** A value behind the id of its schema. */
export function framed(id: number, value: Uint8Array): Buffer {
  const head = Buffer.alloc(5)
  head.writeInt32BE(id, 1)
  return Buffer.concat([head, value])
}
