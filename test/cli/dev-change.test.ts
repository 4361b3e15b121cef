import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { changeOf, isByItself, rebuildStep } from '../../src/cli/dev-change.ts'
import { parseYaml } from '../../src/config-file.ts'
import { settingsOf, type LoadedConfig } from '../../src/config.ts'
import { checkPipelines } from '../../src/define-check.ts'
import { tableCodes } from '../../src/ingest/pipeline.ts'
import { REPLAY } from '../../src/replay-status.ts'
import { QUEUED } from '../support/fake-replays.ts'

interface Written {
  readonly lanes: number
  readonly amount: string
  readonly where: string
  readonly size: string
  readonly topic: string
  readonly hasViews: boolean
}
const WRITTEN: Written = { lanes: 1, amount: 'decimal(12,2)', where: 'n > 0', size: '1m', topic: 'a', hasViews: true }

const loaded = ({ lanes, amount, where, size, topic, hasViews }: Written) => {
  const yaml = `
shop:
  tables:
    orders: { from: { topic: orders }, columns: { n: int, amount: "${amount}", at: timestamp }, where: "${where}", eventTime: { column: at, outOfOrderness: 5s } }
    ${hasViews ? 'views: { from: { topic: views }, columns: { id: string } }' : ''}
  windows:
    w: { source: orders, tumbling: { size: ${size} }, allowedLateness: 0s, select: { n: count() }, to: { topic: ${topic} } }
`
  return {
    definition: checkPipelines(parseYaml('kappalake.yaml', yaml).content, ['pipelines']),
    settings: settingsOf({ kafka: { brokers: 'b:9092' }, lanes }),
    sources: new Map([['lanes', { value: String(lanes), source: 'kappalake.yaml:1', isSecret: false }]]),
  } satisfies Pick<LoadedConfig, 'definition' | 'settings' | 'sources'>
}

describe('what a change asks for', () => {
  const written = fc.record<Written>({
    lanes: fc.constantFrom(1, 2),
    amount: fc.constantFrom('decimal(12,2)', 'double'),
    where: fc.constantFrom('n > 0', 'n > 1'),
    size: fc.constantFrom('1m', '2m'),
    topic: fc.constantFrom('a', 'b'),
    hasViews: fc.boolean(),
  })

  test('code that is new or another is rebuilt; all else that differs is opened again; what is the same is nothing', () => {
    fc.assert(
      fc.property(written, written, (before, after) => {
        const isSource = before.amount !== after.amount || before.where !== after.where
        const tables = [
          ...(isSource ? ['shop.orders'] : []),
          ...(after.hasViews && !before.hasViews ? ['shop.views'] : []),
          ...(isSource || before.size !== after.size ? ['shop.w'] : []),
        ]
        const isDefinition = before.topic !== after.topic || before.hasViews !== after.hasViews
        const fields = [...(before.lanes === after.lanes ? [] : ['lanes']), ...(isDefinition ? ['pipelines'] : [])]
        expect(changeOf(loaded(before), loaded(after))).toEqual(
          tables.length > 0
            ? { kind: 'code', tables, pipelines: ['shop'] }
            : fields.length > 0
              ? { kind: 'settings', fields }
              : { kind: 'nothing' },
        )
      }),
      { numRuns: 60 },
    )
  })

  test('a setting that is not shown is one all the same', () => {
    const before = loaded(WRITTEN)
    const after = { ...before, settings: { ...before.settings, http: { host: '::1', port: 1 } } }
    expect(changeOf(before, after)).toEqual({ kind: 'settings', fields: ['http.keys'] })
  })
})

describe('what is done about a replay that is not over', () => {
  const definition = loaded(WRITTEN).definition.pipelines[0]!
  const codes = Object.fromEntries(tableCodes(definition))
  const always = { ...REPLAY, autoCutover: 'always' } as const

  test('ours is gone on with, that of another definition replaced, and another person is not disturbed', () => {
    const step = (open: Partial<typeof QUEUED>) => rebuildStep(definition, { ...QUEUED, ...open }).kind
    expect(rebuildStep(definition, undefined)).toEqual({ kind: 'start' })
    expect(step({ codes, options: always })).toBe('go-on')
    expect(step({ codes, options: REPLAY })).toBe('go-on')
    expect(step({ codes: { ...codes, w: 'other' }, options: always })).toBe('replace')
    expect(step({ codes: {}, options: { ...always, autoCutover: 'ifEqual' } })).toBe('wait')
    expect(step({ codes, options: { ...always, mode: 'verify' } })).toBe('wait')
    expect(isByItself({ ...QUEUED, options: { ...always, mode: 'range' } })).toBe(false)
  })
})
