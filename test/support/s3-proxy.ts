import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'

/**
 * What becomes of one request. status: answered by the proxy, the server never sees it. resetBefore, resetAfter: the
 * connection is reset before or after the server did its work. hang: as resetAfter, but no answer ever comes. cut: the
 * body of the answer ends after some bytes, by a reset or by silence. wrongLength: a HEAD answer one byte short. late:
 * the connection is reset, and the server does its work some time after. staleList: a listing without what is younger
 * than a few seconds. trickle: the first bytes of the answer come one a second.
 */
export type ProxyFault =
  | { readonly kind: 'status'; readonly status: number; readonly code: string }
  | { readonly kind: 'resetBefore' | 'resetAfter' | 'hang' | 'wrongLength' | 'pass' }
  | { readonly kind: 'late'; readonly afterMs: number }
  | { readonly kind: 'staleList' }
  | { readonly kind: 'trickle'; readonly bytes: number }
  | { readonly kind: 'cut'; readonly afterBytes: number; readonly how: 'reset' | 'stall' }

export interface SeenRequest {
  readonly method: string
  readonly url: string
  readonly headers: http.IncomingHttpHeaders
  readonly fault: ProxyFault['kind']
}

export interface S3Proxy {
  readonly endpoint: string
  /** Every request since the last `expect`. */
  readonly seen: SeenRequest[]
  /** Forgets what was seen; the next requests that match get these faults, in this order, all others pass. */
  script(faults: readonly ProxyFault[], matches?: (method: string, url: string) => boolean): void
  /** Asked about each request that nothing was scripted for; undefined passes it, and ends this when given instead. */
  draw(choose: ((method: string, url: string) => ProxyFault | undefined) | undefined): void
  /** Resolves when nothing is on its way to the server any more. */
  landed(): Promise<void>
  connections(): Promise<number>
  stop(): Promise<void>
}

const all = (_method: string, _url: string): boolean => true

/** An HTTP proxy on loopback in front of an S3 server that does not look at signatures. */
export async function startS3Proxy(upstream: string): Promise<S3Proxy> {
  const seen: SeenRequest[] = []
  let faults: ProxyFault[] = []
  let isMeant = all
  let choose: ((method: string, url: string) => ProxyFault | undefined) | undefined
  const late = new Set<Promise<unknown>>()
  const agent = new http.Agent({ keepAlive: true })

  const server = http.createServer((request, response) => {
    const { method = '', url = '' } = request
    const fault: ProxyFault = (isMeant(method, url) ? faults.shift() : undefined) ??
      choose?.(method, url) ?? { kind: 'pass' }
    seen.push({ method, url, headers: request.headers, fault: fault.kind })
    answer(request, response, fault).catch(() => response.destroy())
  })

  async function answer(request: http.IncomingMessage, response: http.ServerResponse, fault: ProxyFault) {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    if (fault.kind === 'resetBefore') return void response.socket?.resetAndDestroy()
    if (fault.kind === 'status') {
      const body = `<?xml version="1.0"?><Error><Code>${fault.code}</Code><Message>scripted</Message></Error>`
      response.writeHead(fault.status, { 'content-type': 'application/xml', date: new Date().toUTCString() })
      return void response.end(request.method === 'HEAD' ? undefined : body)
    }
    if (fault.kind === 'late') {
      response.socket?.resetAndDestroy()
      const landing = new Promise((resolve) => setTimeout(resolve, fault.afterMs))
        .then(() => passOn(request, chunks))
        .finally(() => late.delete(landing))
      late.add(landing)
      return
    }
    const passed = await passOn(request, chunks)
    const { got } = passed
    const isStale = fault.kind === 'staleList' && request.url?.includes('list-type=2') === true
    const body = isStale ? [withoutYoung(Buffer.concat(passed.body))] : passed.body
    if (fault.kind === 'hang') return
    if (fault.kind === 'resetAfter') return void response.socket?.resetAndDestroy()
    const length = Number(got.headers['content-length'])
    const extra = fault.kind === 'wrongLength' ? { 'content-length': String(length - 1) } : {}
    if (isStale) delete got.headers['content-length']
    response.writeHead(got.statusCode ?? 500, { ...got.headers, ...extra })
    if (fault.kind === 'trickle') {
      const whole = Buffer.concat(body)
      for (let at = 0; at < Math.min(fault.bytes, whole.length); at++) {
        response.write(whole.subarray(at, at + 1))
        await new Promise((resolve) => setTimeout(resolve, 1_000))
      }
      return void response.end(whole.subarray(fault.bytes))
    }
    if (fault.kind !== 'cut') return void response.end(Buffer.concat(body))
    response.write(Buffer.concat(body).subarray(0, fault.afterBytes), () => {
      if (fault.how === 'reset') setTimeout(() => response.socket?.resetAndDestroy(), 20)
    })
  }

  async function passOn({ method, url, headers }: http.IncomingMessage, chunks: readonly Buffer[]) {
    const sent = http.request(`${upstream}${url}`, { method: method ?? 'GET', headers, agent })
    sent.end(Buffer.concat(chunks))
    const [got] = (await once(sent, 'response')) as [http.IncomingMessage]
    const body: Buffer[] = []
    for await (const chunk of got) body.push(chunk as Buffer)
    return { got, body }
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    script: (next, matches = all) => {
      seen.length = 0
      faults = [...next]
      isMeant = matches
    },
    draw: (next) => {
      choose = next
    },
    landed: async () => {
      while (late.size > 0) await Promise.allSettled(late)
    },
    connections: () =>
      new Promise((resolve, reject) =>
        server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
      ),
    stop: async () => {
      agent.destroy()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

const YOUNG_MS = 5_000

/** A listing as one gives it that lags behind the writes. */
function withoutYoung(listing: Buffer): Buffer {
  return Buffer.from(
    listing.toString().replaceAll(/<Contents>.*?<\/Contents>/gs, (entry) => {
      const modified = /<LastModified>(.*?)<\/LastModified>/.exec(entry)?.[1]
      return modified !== undefined && Date.parse(modified) > Date.now() - YOUNG_MS ? '' : entry
    }),
  )
}
