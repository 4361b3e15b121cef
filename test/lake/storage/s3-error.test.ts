import { describe, expect, it } from 'vitest'
import { judge } from '../../../src/lake/storage/s3-error.ts'

const answer = (httpStatusCode: number, name = 'Error') =>
  Object.assign(new Error('x'), { name, $metadata: { httpStatusCode } })

describe('the verdict on a failed request', () => {
  it.each([
    [404, 'absent'],
    [408, 'unknown'],
    [409, 'conflict'],
    [412, 'exists'],
    [429, 'unknown'],
    [500, 'unknown'],
    [503, 'unknown'],
    [400, 'denied'],
    [403, 'denied'],
    [501, 'unsupported'],
  ])('%i is %s', (status, verdict) => expect(judge(answer(status))).toBe(verdict))

  it('goes by the name first', () => {
    expect(judge(answer(400, 'RequestTimeout'))).toBe('unknown')
    expect(judge(answer(400, 'ExpiredToken'))).toBe('renew')
    expect(judge(answer(404, 'NoSuchBucket'))).toBe('misconfigured')
  })

  it('knows nothing where there was no answer', () => {
    expect(judge(new Error('socket hang up'))).toBe('unknown')
  })
})
