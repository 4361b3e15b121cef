import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { loadConfig } from '../../src/config.ts'

// What one manifest says of another, and what it says of the program: names, ports, routes, settings. Whether each is a
// manifest at all, `npm run check:infra` asks Kubernetes' own schemas.

const folder = path.resolve(import.meta.dirname, '../../infra/kubernetes')
const read = (file: string) => readFileSync(path.join(folder, file), 'utf8')
const kustomization = parse(read('kustomization.yaml'))
const of = (file: string) => parse(read(file))
const set = of('statefulset.yaml')
const pod = set.spec.template.spec
const [container] = pod.containers
const secret = of('secret.example.yaml')

describe('the pieces fit', () => {
  test('every file is used, but the example of a secret', () => {
    const used = ['kustomization.yaml', ...kustomization.resources, ...kustomization.configMapGenerator[0].files]
    expect(readdirSync(folder).toSorted()).toEqual([...used, 'secret.example.yaml'].toSorted())
  })

  test('all select the pod, and the pod is what the set selects', () => {
    const { labels } = set.spec.template.metadata
    for (const selector of [
      set.spec.selector.matchLabels,
      of('service.yaml').spec.selector,
      of('pod-disruption-budget.yaml').spec.selector.matchLabels,
      of('network-policy.yaml').spec.podSelector.matchLabels,
    ])
      expect(selector).toEqual(labels)
    expect(set.spec.serviceName).toBe(of('service.yaml').metadata.name)
    expect(of('namespace.yaml').metadata.name).toBe(kustomization.namespace)
  })

  test('ports are named once', () => {
    expect(container.ports).toEqual([{ name: 'http', containerPort: 7780 }])
    expect(of('service.yaml').spec.ports[0].targetPort).toBe('http')
    expect(of('network-policy.yaml').spec.ingress[0].ports[0].port).toBe('http')
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe'])
      expect(container[probe].httpGet.port).toBe('http')
  })

  test('volumes, the map and the secret are there', () => {
    const volumes = new Map(pod.volumes.map((volume: { name: string }) => [volume.name, volume]))
    expect(container.volumeMounts.map((mount: { name: string }) => mount.name).toSorted()).toEqual(
      [...volumes.keys()].toSorted(),
    )
    expect((volumes.get('config') as any).configMap.name).toBe(kustomization.configMapGenerator[0].name)
    expect(container.envFrom[0].secretRef.name).toBe(secret.metadata.name)
    expect(secret.metadata.namespace).toBe(kustomization.namespace)
    expect(kustomization.images[0].name).toBe(container.image)
  })

  test('the image is that of this version', () => {
    const { version } = JSON.parse(readFileSync(path.join(folder, '../../package.json'), 'utf8'))
    expect(kustomization.images[0].newTag).toBe(version)
  })
})

describe('the program', () => {
  test('takes the configuration with the variables of the pod', async () => {
    const place = mkdtempSync(path.join(os.tmpdir(), 'kappalake-k8s-'))
    writeFileSync(path.join(place, 'kappalake.yaml'), read('kappalake.yaml'))
    const { settings, definition } = await loadConfig({
      folder: place,
      env: { ...secret.stringData, KAPPALAKE__WRITER: 'kappalake-0' },
      flags: {},
    })
    expect(settings.writer).toBe('kappalake-0')
    expect(settings.http).toMatchObject({ host: '0.0.0.0', port: container.ports[0].containerPort })
    expect(settings.store.secretAccessKey).toBe(secret.stringData.KAPPALAKE__STORE__SECRET_ACCESS_KEY)
    expect(definition.pipelines.map(({ name }) => name)).toEqual(['shop'])
  })

  test('serves no one without a key', async () => {
    const place = mkdtempSync(path.join(os.tmpdir(), 'kappalake-k8s-'))
    writeFileSync(path.join(place, 'kappalake.yaml'), read('kappalake.yaml'))
    await expect(loadConfig({ folder: place, env: {}, flags: {} })).rejects.toThrow('http.host')
  })

  test('serves the routes that are probed', () => {
    const served = readFileSync(path.join(folder, '../../src/server/health.ts'), 'utf8')
    expect(container.livenessProbe.httpGet.path).toBe('/healthz')
    expect(container.readinessProbe.httpGet.path).toBe('/readyz')
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe'])
      expect(served).toContain(`path: '${container[probe].httpGet.path}'`)
  })
})

test('it may do nothing that it need not', () => {
  expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } })
  expect(container.securityContext).toEqual({
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  })
  expect(pod.automountServiceAccountToken).toBe(false)
  // The process ends within ten seconds of SIGTERM.
  expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(10)
  expect(set.spec.replicas).toBe(1)
  expect(container.resources.limits.memory).toBeTruthy()
})
