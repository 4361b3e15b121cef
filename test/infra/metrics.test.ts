import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { createMetrics } from '../../src/server/metrics.ts'
import { readPromql } from './promql.ts'

// What dashboards and alerts ask for must be what the process tells: names, labels and the values of labels.

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly labels: { readonly severity: string }
  readonly annotations: Readonly<Record<string, string>>
}
interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[]
}

const rules: readonly Rule[] = parse(read('infra/prometheus/alerts.yaml')).groups.flatMap(
  (group: { rules: readonly Rule[] }) => group.rules,
)
const dashboard = JSON.parse(read('infra/grafana/dashboard.json')) as {
  panels: readonly Panel[]
  templating: { list: readonly { name: string; definition?: string }[] }
}
const panels = dashboard.panels.filter((panel) => panel.type !== 'row')
const expressions = [
  ...rules.map(({ alert, expr }) => ({ name: alert, expr })),
  ...panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ name: title, expr }))),
]

const registered = new Map(
  (
    createMetrics().registry.getMetricsAsArray() as unknown as {
      name: string
      help: string
      labelNames: readonly string[]
      type: string
    }[]
  ).flatMap((metric) =>
    (metric.type === 'histogram' ? ['_bucket', '_count', '_sum'] : ['']).map((suffix) => [
      `${metric.name}${suffix}`,
      { ...metric, labels: [...metric.labelNames, ...(suffix === '_bucket' ? ['le'] : [])] },
    ]),
  ),
)
/** Of Prometheus itself. */
const ITS_LABELS = ['job', 'instance']
const ITS_METRICS: Readonly<Record<string, readonly string[]>> = { up: [] }

describe('expressions', () => {
  test.each(expressions)('$name: $expr', ({ expr }) => {
    const { selectors, grouping } = readPromql(expr)
    expect(selectors.length).toBeGreaterThan(0)
    const known = selectors.map(({ metric, matchers }) => {
      const labels = [
        ...(registered.get(metric)?.labels ?? ITS_METRICS[metric] ?? [`no metric ${metric}`]),
        ...ITS_LABELS,
      ]
      expect(matchers.map(({ label }) => label).filter((label) => !labels.includes(label))).toEqual([])
      return labels
    })
    expect(known.flat().filter((label) => label.startsWith('no metric'))).toEqual([])
    // An aggregation by a label that nothing has would put everything into one.
    expect(grouping.filter((label) => !known.every((labels) => labels.includes(label)))).toEqual([])
  })

  test('compare labels with values that are told', () => {
    const source = read('src/event.ts') + read('src/server/metrics.ts')
    const values = expressions.flatMap(({ expr }) =>
      readPromql(expr).selectors.flatMap(({ matchers }) =>
        matchers
          .filter(({ label }) => label !== 'pipeline' && label !== 'job')
          .flatMap(({ value }) => value.split('|')),
      ),
    )
    expect(values.filter((value) => !source.includes(`'${value}'`))).toEqual([])
    expect(new Set(values).size).toBeGreaterThan(8)
  })

  test('that are no PromQL are found', () => {
    const good = 'sum by (pipeline) (rate(kappalake_records_total[5m])) > 1'
    expect(readPromql(good).selectors).toEqual([{ metric: 'kappalake_records_total', matchers: [] }])
    fc.assert(
      fc.property(fc.constantFrom(...[...good].flatMap((c, i) => ('()[]'.includes(c) ? [i] : []))), (at) => {
        expect(() => readPromql(good.slice(0, at) + good.slice(at + 1))).toThrow('no PromQL')
      }),
    )
  })
})

describe('metrics', () => {
  test('each has a help text and stands in the documentation', () => {
    const text = read('docs/http.md')
    const metrics = new Map([...registered.values()].map((metric) => [metric.name, metric]))
    expect([...metrics.values()].filter(({ help }) => !/^[A-Z0-9].{8,}/.test(help)).map(({ name }) => name)).toEqual([])
    // The first of a line has its whole name, the others what follows the prefix.
    const told = new Set([...text.matchAll(/\b(?:kappalake|kafka)_\w+|\b_\w+/g)].map((match) => match[0]))
    const names = [...metrics.keys()]
    expect(names.filter((name) => !told.has(name) && !told.has(name.replace(/^kappalake/, '')))).toEqual([])
  })

  test('each is on the dashboard, but those for the alerts of other tools', () => {
    const used = new Set(
      panels.flatMap(({ targets = [] }) =>
        targets.flatMap(({ expr }) => readPromql(expr).selectors.map(({ metric }) => registered.get(metric)!.name)),
      ),
    )
    const unused = new Set([...registered.values()].map(({ name }) => name).filter((name) => !used.has(name)))
    expect([...unused].toSorted()).toEqual([
      'kafka_consumergroup_lag',
      'kafka_consumergroup_lag_sum',
      'kappalake_compacted_rows_total',
      'kappalake_expired_bytes_total',
      'kappalake_expression_failed_total',
      'kappalake_published_total',
      'kappalake_retract_of_unknown_total',
    ])
  })
})

describe('alerts', () => {
  const runbook = read('docs/running.md')

  test('each has a severity, a text and a section of the runbook', () => {
    for (const { alert, labels, annotations } of rules) {
      expect(['warning', 'critical']).toContain(labels.severity)
      expect(annotations.summary).toBeTruthy()
      expect(annotations.description).toBeTruthy()
      expect(annotations.runbook).toBe(`docs/running.md#${alert.toLowerCase()}`)
      expect(runbook).toContain(`### ${alert}\n`)
    }
    const headings = [...runbook.matchAll(/^### (Kappalake\w+)$/gm)].map((match) => match[1])
    expect(headings.toSorted()).toEqual(rules.map(({ alert }) => alert).toSorted())
  })

  test('each is fired by a test', () => {
    const tests = read('infra/prometheus/alerts.test.yaml')
    expect(rules.filter(({ alert }) => !tests.includes(`alertname="${alert}"`))).toEqual([])
  })
})

describe('the dashboard', () => {
  test('panels have an id, a description and a place of their own', () => {
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length)
    expect(panels.filter(({ description, targets }) => !description || !targets?.length)).toEqual([])
    for (const [i, one] of panels.entries())
      for (const two of panels.slice(i + 1)) {
        const [a, b] = [one.gridPos, two.gridPos]
        const areApart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y
        expect(areApart, `${one.title} lies on ${two.title}`).toBe(true)
      }
  })

  test('legends name labels that the expression keeps', () => {
    for (const { title, targets = [] } of panels)
      for (const { expr, legendFormat } of targets) {
        const { selectors, grouping } = readPromql(expr)
        const kept = /^(sum|max|histogram_quantile)/.test(expr)
          ? grouping
          : [...selectors.flatMap(({ metric }) => registered.get(metric)!.labels), ...ITS_LABELS]
        const named = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map((match) => match[1]!)
        expect(
          named.filter((label) => !kept.includes(label)),
          title,
        ).toEqual([])
      }
  })
})
