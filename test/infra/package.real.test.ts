import { expect, test } from 'vitest'
import { checkPackage } from '../../infra/pack.mjs'

test('what is packed can be used by who installs it', () => {
  const said: string[] = []
  const { files } = checkPackage({ isShort: true, log: (text) => said.push(text) })
  expect(said.slice(1)).toEqual([
    'linked',
    'types resolve',
    'the library opens',
    'a pipeline proves itself',
    'the command makes a project and reads it',
  ])
  const wanted = [
    'dist/main.js',
    'dist/index.js',
    'dist/lane-child.js',
    'dist/client.js',
    'dist/testing.js',
    'dist/types/index.d.ts',
    'dist/types/client/client.d.ts',
    'dist/types/testing.d.ts',
    'docs/errors.md',
    'LICENSE',
  ]
  expect(files).toEqual(expect.arrayContaining([...wanted, 'infra/templates/common/gitignore']))
  expect(files.filter((file) => /^(src|test|bench|\.)/.test(file))).toEqual([])
})
