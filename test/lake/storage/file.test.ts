import { describe, expect, it } from 'vitest'
import { LakeError } from '../../../src/error.ts'
import { refusal } from '../../../src/lake/storage/file.ts'

const failed = (code: string) => Object.assign(new Error(`${code}: it failed`), { code })

describe('an error of the file system', () => {
  it.each([
    ['ENOSPC', 'store.disk_full', true],
    ['EDQUOT', 'store.disk_full', true],
    ['EACCES', 'store.denied', false],
    ['EPERM', 'store.denied', false],
    ['EROFS', 'store.denied', false],
    ['EIO', 'store.unavailable', true],
    ['EMFILE', 'store.unavailable', true],
    ['ESTALE', 'store.unavailable', true],
    ['ENAMETOOLONG', 'internal', false],
  ])('%s is %s', (code, expected, retryable) => {
    const error = refusal(failed(code), 'a/key')
    expect(error).toMatchObject({ code: expected, retryable, cause: { code } })
    if (expected !== 'internal') {
      expect(error.message).toContain('a/key')
      expect(error.fix).toBeDefined()
    }
  })

  it('keeps the name that it already has', () => {
    const named = new LakeError('store.no_conditional_write', 'x')
    expect(refusal(named, 'a')).toBe(named)
  })
})
