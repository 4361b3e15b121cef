import type { ConnectionOptions } from 'node:tls'
import type { Mechanism, SASLOptions } from 'kafkajs'
import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { KafkaSettings, OAuthSettings } from '../settings.ts'
import { OAuthTokens } from './oauth-tokens.ts'

/** What kafkajs is told of TLS and SASL: for its own clients, and for the connections that we take over from it. */
export interface KafkaSecurity {
  readonly ssl: ConnectionOptions | undefined
  /** A new one for each client: kafkajs keeps state in it. */
  sasl(): SASLOptions | Mechanism | undefined
}

/** The tokens of one of these are shared by all its connections. */
export function kafkaSecurity({ ssl, sasl }: KafkaSettings, clock: Clock): KafkaSecurity {
  const tokens = sasl?.mechanism === 'oauthbearer' ? new OAuthTokens(sasl, clock) : undefined
  return {
    ssl: tlsOptions(ssl),
    sasl: () => {
      if (sasl === undefined) return undefined
      return sasl.mechanism === 'oauthbearer' ? oauthBearer(sasl, tokens!) : ({ ...sasl } as SASLOptions)
    },
  }
}

function tlsOptions(ssl: KafkaSettings['ssl']): ConnectionOptions | undefined {
  if (ssl === undefined || ssl === false) return undefined
  if (ssl === true) return {}
  const { serverName, ...rest } = ssl
  return { ...rest, ...(serverName === undefined ? {} : { servername: serverName }) }
}

type Authenticate = Parameters<Mechanism['authenticationProvider']>[0]['saslAuthenticate']

/**
 * OAUTHBEARER (RFC 7628). The provider of kafkajs takes the answer for a success whatever it says: a broker that refuses
 * a token answers with the reason, and breaks off what comes next.
 */
function oauthBearer({ extensions = {} }: OAuthSettings, tokens: OAuthTokens): Mechanism {
  return {
    mechanism: 'oauthbearer',
    authenticationProvider: ({ saslAuthenticate }) => ({
      authenticate: async () => {
        const message = firstMessage(await tokens.token(), extensions)
        const refusal = await exchange(saslAuthenticate, message)
        if (refusal !== undefined) throw refused(refusal)
      },
    }),
  }
}

const SEPARATOR = '\u0001'

/** `n,,^Aauth=Bearer TOKEN^Akey=value^A^A` */
export function firstMessage(token: string, extensions: Readonly<Record<string, string>>): Buffer {
  const pairs = Object.entries(extensions).map(([name, value]) => `${name}=${value}${SEPARATOR}`)
  return Buffer.from(`n,,${SEPARATOR}auth=Bearer ${token}${SEPARATOR}${pairs.join('')}${SEPARATOR}`)
}

/** The broker's answer; undefined when it is content. Both sides' bytes have their length before them. */
async function exchange(saslAuthenticate: Authenticate, message: Buffer): Promise<string | undefined> {
  const length = Buffer.alloc(4)
  length.writeInt32BE(message.length)
  const answer = await saslAuthenticate<Buffer>({
    request: { encode: () => Buffer.concat([length, message]) },
    response: { decode: (bytes) => bytes, parse: (bytes) => bytes as Buffer },
  })
  const text = Buffer.isBuffer(answer) && answer.length > 4 ? answer.subarray(4).toString('utf8') : ''
  return text === '' ? undefined : text
}

function refused(answer: string): LakeError {
  // `{"status": "invalid_token"}`; nothing else of it is repeated.
  const [, status] = /"status"\s*:\s*"([\w.-]{1,60})"/.exec(answer) ?? []
  return new LakeError('kafka.denied', `the broker refuses the token${status === undefined ? '' : `: ${status}`}`, {
    fix: 'Check kafka.sasl.scope and audience, that the broker trusts this token endpoint, and the clocks of all three.',
  })
}
