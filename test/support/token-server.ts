import { createSign, generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { systemClock } from '../../src/clock.ts'

/** An OAuth 2 server with one client, whose tokens a broker can check. */
export interface TokenServer {
  readonly url: string
  /** Tokens that it gave. */
  readonly given: number
  /** Seconds that the next tokens are good for. */
  lifeSeconds: number
  /** Whom the next tokens are for. */
  audience: string
  /** Whether it is away: answers 503. */
  isAway: boolean
  close(): Promise<void>
}

export const ISSUER = 'https://issuer.example'

/** Writes the public key to `jwksFile`, where the broker looks for it. */
export async function startTokenServer(jwksFile: string, client: { id: string; secret: string }): Promise<TokenServer> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig', alg: 'RS256' }
  writeFileSync(jwksFile, JSON.stringify({ keys: [jwk] }))
  const expected = `Basic ${Buffer.from(`${client.id}:${client.secret}`).toString('base64')}`
  const state = { given: 0, lifeSeconds: 3600, audience: 'kafka', isAway: false }

  const answer = (request: IncomingMessage, response: ServerResponse, body: string): void => {
    const send = (status: number, value: object) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    if (state.isAway) return void send(503, { error: 'temporarily_unavailable' })
    if (request.url === '/elsewhere') return void response.writeHead(307, { location: '/token' }).end()
    if (request.headers.authorization !== expected)
      // As careless as some are: what was sent comes back.
      return void send(401, { error: 'invalid_client', error_description: `no ${request.headers.authorization}` })
    if (new URLSearchParams(body).get('grant_type') !== 'client_credentials')
      return void send(400, { error: 'unsupported_grant_type' })
    state.given++
    const now = Math.floor(systemClock.nowMs() / 1000)
    const claims = { iss: ISSUER, aud: state.audience, sub: client.id, iat: now, exp: now + state.lifeSeconds }
    const signed = `${encode({ alg: 'RS256', kid: 'k1' })}.${encode({ ...claims, jti: String(state.given) })}`
    const signature = createSign('RSA-SHA256').update(signed).sign(privateKey).toString('base64url')
    send(200, { access_token: `${signed}.${signature}`, token_type: 'Bearer', expires_in: state.lifeSeconds })
  }

  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (part) => (body += part))
    request.on('end', () => answer(request, response, body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return Object.assign(state, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  })
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
