import { parser } from '@prometheus-io/lezer-promql'

/** What an expression of PromQL reads. */
export interface Selector {
  readonly metric: string
  readonly matchers: readonly { readonly label: string; readonly value: string }[]
}

export interface Expression {
  readonly selectors: readonly Selector[]
  /** Labels that aggregations and matchings go by. */
  readonly grouping: readonly string[]
}

/** Parses an expression; what Grafana puts in stands for itself. Throws where it is no PromQL. */
export function readPromql(text: string): Expression {
  const plain = text.replaceAll('$__rate_interval', '5m').replaceAll('$pipeline', '.*')
  const selectors: { metric: string; matchers: { label: string; value: string }[] }[] = []
  const grouping: string[] = []
  parser.parse(plain).iterate({
    enter: (node) => {
      const word = plain.slice(node.from, node.to)
      if (node.type.isError) throw new Error(`no PromQL at ${node.from}: ${plain}`)
      if (node.name === 'VectorSelector') selectors.push({ metric: '', matchers: [] })
      if (node.name === 'Identifier' && node.node.parent?.name === 'VectorSelector') selectors.at(-1)!.metric = word
      if (node.name === 'UnquotedLabelMatcher') {
        const [, label, value] = /^(\w+)\s*(?:=~|!~|!=|=)\s*"(.*)"$/.exec(word)!
        selectors.at(-1)!.matchers.push({ label: label!, value: value! })
      }
      if (node.name === 'LabelName' && node.node.parent?.name === 'GroupingLabels') grouping.push(word)
    },
  })
  return { selectors, grouping }
}
