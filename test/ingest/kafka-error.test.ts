import { describe, expect, test } from 'vitest'
import { LakeError } from '../../src/error.ts'
import { connectionError, hungUp, unavailable } from '../../src/ingest/kafka-error.ts'

const failed = (message: string, code?: string): Error => Object.assign(new Error(message), { code })

describe('what a connection says', () => {
  test.each<[string, Error, string, RegExp]>([
    ['an unknown authority', failed('unable to verify', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'), 'kafka.denied', /ssl\.ca/],
    ['a certificate that is over', failed('certificate has expired', 'CERT_HAS_EXPIRED'), 'kafka.denied', /Renew/],
    ['one that is not good yet', failed('not yet valid', 'CERT_NOT_YET_VALID'), 'kafka.denied', /clock/],
    ['another name', failed('altnames: Host: b.', 'ERR_TLS_CERT_ALTNAME_INVALID'), 'kafka.denied', /serverName/],
    [
      'no certificate of ours',
      failed('alert', 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'),
      'kafka.denied',
      /ssl\.cert/,
    ],
    ['a bad one', failed('alert', 'ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE'), 'kafka.denied', /ssl\.cert/],
    ['one of nobody', failed('alert', 'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA'), 'kafka.denied', /ssl\.cert/],
    ['no common protocol', failed('alert', 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION'), 'kafka.unavailable', /no TLS/],
    ['no TLS there', failed('wrong version number', 'ERR_SSL_WRONG_VERSION_NUMBER'), 'kafka.unavailable', /no TLS/],
    [
      'nor there',
      failed('Client network socket disconnected before secure TLS connection was established', 'ECONNRESET'),
      'kafka.unavailable',
      /leave kafka\.ssl out/,
    ],
    ['hung up', failed('Closed connection'), 'kafka.unavailable', /set kafka\.ssl and kafka\.sasl/],
    ['nobody there', failed('connect ECONNREFUSED', 'ECONNREFUSED'), 'kafka.unavailable', /brokers run/],
    [
      'a broker that went away',
      failed('read ECONNRESET', 'ECONNRESET'),
      'kafka.unavailable',
      /^Check that the brokers/,
    ],
  ])('%s', (_, error, code, fix) => {
    const told = connectionError(error, 'b:1')
    expect([told.code, told.retryable]).toEqual([code, code === 'kafka.unavailable'])
    expect(told.fix).toMatch(fix)
    expect(told.message).toContain('b:1')
  })

  test('a broker that has answered before is no riddle', () => {
    expect(hungUp('b:1', true).fix).toMatch(/^Check that the brokers run/)
    expect(hungUp('b:1', false).fix).toMatch(/set kafka\.ssl and kafka\.sasl/)
  })

  test('what is behind it says what to do', () => {
    const inner = new LakeError('kafka.unavailable', 'x', { fix: 'Turn it on.' })
    expect(unavailable('no broker answers', {}, inner).fix).toBe('Turn it on.')
    expect(unavailable('no broker answers').fix).toMatch(/brokers run/)
    expect(connectionError(inner, 'b:1')).toBe(inner)
  })
})
