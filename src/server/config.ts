import { z } from 'zod'
import type { ServerDoor } from './door.ts'
import type { Settings } from '../settings.ts'
import { operation, type Operation } from './operation.ts'

const SECRET = /password|secret|token|sasl|authorization|accesskey|^key$/i
const MASK = '••••••'

export function configOperations(door: ServerDoor): readonly Operation[] {
  return [
    operation({
      method: 'get',
      path: '/v1/config',
      id: 'getConfig',
      summary: 'Definition and settings in force; secrets are masked',
      answer: z.object({ settings: z.object({}).loose(), definition: z.object({}).loose() }),
      handle: () => ({ settings: masked(shown(door.settings)), definition: masked(door.definition) }),
    }),
  ]
}

/** Of salts their names alone: nothing in their form says that they are secrets. */
function shown({ salts, ...settings }: Settings): unknown {
  return salts === undefined ? settings : { ...settings, salts: Object.keys(salts) }
}

/** Plain JSON without a secret in it: by the name of the field, and where an address carries a password. */
export function masked(value: unknown, name = ''): unknown {
  if (value === undefined || value === null) return value
  if (SECRET.test(name)) return MASK
  if (typeof value === 'string') return value.replace(/(\/\/)[^/@\s]+@/g, `$1${MASK}@`)
  if (typeof value === 'bigint') return String(value)
  if (Array.isArray(value)) return value.map((item) => masked(item))
  if (typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, masked(item, key)]))
}
