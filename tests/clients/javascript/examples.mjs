// The documented examples of @kubernetes/client-node: typed and untyped objects, patches, a watch, an informer.
// It is copied to where its packages are: node FILE KUBECONFIG

import assert from 'node:assert/strict';
import * as k8s from '@kubernetes/client-node';

const NAMESPACE = 'javascript';
const PATIENCE_MS = 30_000;

const config = new k8s.KubeConfig();
config.loadFromFile(process.argv[2]);
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const settings = (name, data) => ({ namespace: NAMESPACE, body: { metadata: { name }, data } });

/** What `start(resolve, reject)` resolves to, or a failure when patience is over. */
function within(what, start) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`waited for ${what}`)), PATIENCE_MS);
    start((value) => (clearTimeout(timer), resolve(value)), reject);
  });
}

async function namespaces() {
  const made = await core.createNamespace({ body: { metadata: { name: NAMESPACE } } });
  assert.equal(made.status.phase, 'Active');
  const all = await core.listNamespace();
  assert.ok(all.items.some((n) => n.metadata.name === NAMESPACE));
  assert.ok(made.metadata.creationTimestamp instanceof Date);
}

async function errors() {
  const failed = async (code, reason, call) => {
    await assert.rejects(call, (e) => e.code === code && JSON.parse(e.body).reason === reason);
  };
  await failed(404, 'NotFound', core.readNamespacedPod({ name: 'nobody', namespace: NAMESPACE }));
  await failed(409, 'AlreadyExists', core.createNamespace({ body: { metadata: { name: NAMESPACE } } }));
  await failed(422, 'Invalid', core.createNamespacedConfigMap(settings('Not a name')));
}

/** examples/typescript/apply, examples/scale-deployment.js, examples/patch-example.js */
async function deployments() {
  const spec = {
    replicas: 1,
    selector: { matchLabels: { app: 'nginx' } },
    template: {
      metadata: { labels: { app: 'nginx' } },
      spec: { containers: [{ name: 'nginx', image: 'nginx', ports: [{ containerPort: 80 }] }] },
    },
  };
  const where = { name: 'nginx', namespace: NAMESPACE };
  await apps.createNamespacedDeployment({ namespace: NAMESPACE, body: { metadata: { name: 'nginx' }, spec } });
  const deployment = await apps.readNamespacedDeployment(where);
  deployment.spec.replicas = 3;
  const replaced = await apps.replaceNamespacedDeployment({ ...where, body: deployment });
  assert.equal(replaced.spec.replicas, 3);
  const scale = await apps.readNamespacedDeploymentScale(where);
  assert.deepEqual([scale.spec.replicas, scale.status.selector], [3, 'app=nginx']);
  const by = (strategy) => k8s.setHeaderOptions('Content-Type', strategy);
  const json = [{ op: 'replace', path: '/spec/replicas', value: 4 }];
  let patched = await apps.patchNamespacedDeployment({ ...where, body: json }, by(k8s.PatchStrategy.JsonPatch));
  assert.equal(patched.spec.replicas, 4);
  const labels = { metadata: { labels: { a: 'b' } } };
  patched = await apps.patchNamespacedDeployment({ ...where, body: labels }, by(k8s.PatchStrategy.MergePatch));
  assert.equal(patched.metadata.labels.a, 'b');
  const env = { spec: { template: { spec: { containers: [{ name: 'nginx', env: [{ name: 'A', value: 'b' }] }] } } } };
  patched = await apps.patchNamespacedDeployment({ ...where, body: env }, by(k8s.PatchStrategy.StrategicMergePatch));
  const [container] = patched.spec.template.spec.containers;
  assert.deepEqual([container.image, container.env[0].value], ['nginx', 'b']);
  const apply = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'nginx' }, spec: { minReadySeconds: 5 } };
  const options = { ...where, body: apply, fieldManager: 'javascript' };
  patched = await apps.patchNamespacedDeployment(options, by(k8s.PatchStrategy.ServerSideApply));
  assert.equal(patched.spec.minReadySeconds, 5);
  await apps.deleteNamespacedDeployment({ ...where, propagationPolicy: 'Background' });
}

/** examples/typescript/watch */
async function watched() {
  const seen = [];
  const path = `/api/v1/namespaces/${NAMESPACE}/configmaps`;
  const watch = new k8s.Watch(config);
  await within('the events of a watch', async (resolve, reject) => {
    const each = (type, object) => {
      seen.push([type, object.metadata.name]);
      if (type === 'DELETED') resolve();
    };
    const request = await watch.watch(path, { allowWatchBookmarks: true }, each, (e) => e && !seen.length && reject(e));
    await core.createNamespacedConfigMap(settings('watched', { a: '1' }));
    await core.replaceNamespacedConfigMap({ name: 'watched', ...settings('watched', { a: '2' }) });
    await core.deleteNamespacedConfigMap({ name: 'watched', namespace: NAMESPACE });
    setTimeout(() => request.abort(), PATIENCE_MS).unref();
  });
  assert.deepEqual(seen.slice(-3), ['ADDED', 'MODIFIED', 'DELETED'].map((t) => [t, 'watched']));
}

/** examples/typescript/informer */
async function informed() {
  const path = `/api/v1/namespaces/${NAMESPACE}/configmaps`;
  await core.createNamespacedConfigMap(settings('before', { a: '1' }));
  const informer = k8s.makeInformer(config, path, () => core.listNamespacedConfigMap({ namespace: NAMESPACE }));
  const on = (event, name) =>
    within(`${event} of ${name}`, (resolve) => informer.on(event, (o) => o.metadata.name === name && resolve(o)));
  const before = on('add', 'before');
  await informer.start();
  await before;
  const added = on('add', 'after');
  await core.createNamespacedConfigMap(settings('after', { a: '1' }));
  await added;
  const updated = on('update', 'after');
  await core.replaceNamespacedConfigMap({ name: 'after', ...settings('after', { a: '2' }) });
  assert.equal((await updated).data.a, '2');
  const deleted = on('delete', 'after');
  await core.deleteNamespacedConfigMap({ name: 'after', namespace: NAMESPACE });
  await deleted;
  assert.ok(informer.list().some((o) => o.metadata.name === 'before'));
  assert.equal(informer.get('after', NAMESPACE), undefined);
  await informer.stop();
}

/** examples/typescript/apply/apply-example.ts */
async function untyped() {
  const objects = k8s.KubernetesObjectApi.makeApiClient(config);
  const object = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'front', namespace: NAMESPACE } };
  const made = await objects.create({ ...object, spec: { selector: { app: 'front' }, ports: [{ port: 80 }] } });
  assert.ok(made.spec.clusterIP);
  const read = await objects.read(object);
  const patched = await objects.patch({ ...object, metadata: { ...object.metadata, labels: { a: 'b' } } });
  assert.deepEqual([read.metadata.uid, patched.metadata.labels.a], [made.metadata.uid, 'b']);
  const list = await objects.list('v1', 'Service', NAMESPACE);
  assert.deepEqual(list.items.map((s) => s.metadata.name), ['front']);
  await objects.delete(object);
}

async function custom() {
  const extensions = config.makeApiClient(k8s.ApiextensionsV1Api);
  const objects = config.makeApiClient(k8s.CustomObjectsApi);
  const group = 'stable.javascript.example';
  const schema = { type: 'object', properties: { spec: { type: 'object', properties: { size: { type: 'integer' } } } } };
  const names = { plural: 'shirts', singular: 'shirt', kind: 'Shirt' };
  const versions = [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schema } }];
  const spec = { group, scope: 'Namespaced', names, versions };
  const name = `shirts.${group}`;
  await extensions.createCustomResourceDefinition({ body: { metadata: { name }, spec } });
  const watch = new k8s.Watch(config);
  const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
  await within('the kind', async (resolve, reject) => {
    const established = (c) => c.type === 'Established' && c.status === 'True';
    const each = (_, o) => o.status?.conditions?.some(established) && (resolve(), request.abort());
    const request = await watch.watch(path, { fieldSelector: `metadata.name=${name}` }, each, (e) => e && reject(e));
  });
  const where = { group, version: 'v1', namespace: NAMESPACE, plural: 'shirts' };
  const body = { apiVersion: `${group}/v1`, kind: 'Shirt', metadata: { name: 'blue' }, spec: { size: 3 } };
  await objects.createNamespacedCustomObject({ ...where, body });
  const list = await objects.listNamespacedCustomObject(where);
  assert.equal(list.items[0].spec.size, 3);
  await objects.deleteNamespacedCustomObject({ ...where, name: 'blue' });
  await extensions.deleteCustomResourceDefinition({ name });
}

const only = process.argv.slice(3);
for (const example of [namespaces, errors, deployments, watched, informed, untyped, custom]) {
  if (only.length && !only.includes(example.name)) continue;
  await example();
  console.log(`${example.name} ok`);
}
process.exit(0);
