import * as z from 'zod'
import { masked } from '../redact.ts'
import type { Settings } from '../settings.ts'
import type { ServerDoor } from './door.ts'
import { operation, type Operation } from './operation.ts'

export function configOperations(door: ServerDoor): readonly Operation[] {
  return [
    operation({
      method: 'get',
      path: '/v1/config',
      id: 'getConfig',
      summary: 'Definition and settings in force; secrets are masked',
      access: ['config'],
      answer: z.object({ settings: z.object({}).loose(), definition: z.object({}).loose() }),
      handle: () => ({ settings: masked(shown(door.settings)), definition: masked(door.definition) }),
    }),
  ]
}

/** Of salts their names alone: nothing in their form says that they are secrets. */
function shown({ salts, ...settings }: Settings): unknown {
  return salts === undefined ? settings : { ...settings, salts: Object.keys(salts) }
}
