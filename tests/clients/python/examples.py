"""The documented examples of the Python client: read, written, watched, patched, applied; with types and without."""

import sys
import threading

import yaml
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.rest import ApiException
from kubernetes.leaderelection import leaderelection  # noqa: F401  (it must at least load)

KUBECONFIG, NAMESPACE = sys.argv[1], "python"
PATIENCE_S = 30


def deployment(replicas):
    """examples/deployment_crud.py"""
    container = client.V1Container(
        name="nginx",
        image="nginx:1.15.4",
        ports=[client.V1ContainerPort(container_port=80)],
        resources=client.V1ResourceRequirements(
            requests={"cpu": "100m", "memory": "200Mi"}, limits={"cpu": "500m", "memory": "500Mi"}
        ),
    )
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels={"app": "nginx"}), spec=client.V1PodSpec(containers=[container])
    )
    spec = client.V1DeploymentSpec(replicas=replicas, template=template, selector={"matchLabels": {"app": "nginx"}})
    return client.V1Deployment(
        api_version="apps/v1", kind="Deployment", metadata=client.V1ObjectMeta(name="nginx"), spec=spec
    )


def namespaces():
    core = client.CoreV1Api()
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    names = [n.metadata.name for n in core.list_namespace().items]
    assert NAMESPACE in names and "kube-system" in names, names
    assert client.VersionApi().get_code().major == "1"
    versions = client.ApisApi().get_api_versions().groups
    assert any(g.name == "apps" for g in versions)
    assert any(r.name == "pods" and "watch" in r.verbs for r in core.get_api_resources().resources)


def deployments():
    apps = client.AppsV1Api()
    made = apps.create_namespaced_deployment(NAMESPACE, deployment(3))
    assert made.spec.replicas == 3 and made.metadata.generation == 1
    made.spec.template.spec.containers[0].image = "nginx:1.16.0"
    patched = apps.patch_namespaced_deployment("nginx", NAMESPACE, made)
    assert patched.spec.template.spec.containers[0].image == "nginx:1.16.0" and patched.metadata.generation == 2
    scale = apps.patch_namespaced_deployment_scale("nginx", NAMESPACE, {"spec": {"replicas": 5}})
    assert scale.spec.replicas == 5 and scale.status.selector == "app=nginx", scale
    status = apps.read_namespaced_deployment_status("nginx", NAMESPACE)
    assert status.spec.replicas == 5
    replaced = apps.replace_namespaced_deployment("nginx", NAMESPACE, deployment(1), field_manager="python")
    assert replaced.spec.replicas == 1
    gone = client.V1DeleteOptions(propagation_policy="Foreground", grace_period_seconds=5)
    apps.delete_namespaced_deployment("nginx", NAMESPACE, body=gone)


def patches():
    """Each content type of a patch."""
    core = client.CoreV1Api()
    core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "patched"}, "data": {"a": "1", "b": "2"}})
    merged = core.patch_namespaced_config_map("patched", NAMESPACE, {"data": {"a": None, "c": "3"}})
    assert merged.data == {"b": "2", "c": "3"}, merged.data
    ops = [{"op": "replace", "path": "/data/b", "value": "json"}]
    assert core.patch_namespaced_config_map("patched", NAMESPACE, ops).data["b"] == "json"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "patched"}, "data": {"d": "4"}}
    applied = core.patch_namespaced_config_map(
        "patched", NAMESPACE, body, field_manager="python", force=True, _content_type="application/apply-patch+yaml"
    )
    assert applied.data["d"] == "4" and any(m.operation == "Apply" for m in applied.metadata.managed_fields)


def errors():
    core = client.CoreV1Api()
    for status, call in [
        (404, lambda: core.read_namespaced_pod("nobody", NAMESPACE)),
        (409, lambda: core.create_namespace({"metadata": {"name": NAMESPACE}})),
        (422, lambda: core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "Not a name"}})),
        (400, lambda: core.list_namespaced_config_map(NAMESPACE, limit=1, _continue="nonsense")),
    ]:
        try:
            call()
        except ApiException as error:
            assert error.status == status, error
            assert yaml.safe_load(error.body)["kind"] == "Status", error.body
        else:
            raise AssertionError(f"no error {status}")


def watched():
    """examples/watch: what happens after a list, and a watch that ends by itself."""
    core = client.CoreV1Api()
    since = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    seen, stream = [], watch.Watch()

    def follow():
        events = stream.stream(
            core.list_namespaced_config_map, NAMESPACE, resource_version=since, timeout_seconds=PATIENCE_S
        )
        for event in events:
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                stream.stop()

    follower = threading.Thread(target=follow)
    follower.start()
    core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "watched"}})
    core.patch_namespaced_config_map("watched", NAMESPACE, {"data": {"a": "b"}})
    core.delete_namespaced_config_map("watched", NAMESPACE)
    follower.join(PATIENCE_S)
    assert seen == [(t, "watched") for t in ("ADDED", "MODIFIED", "DELETED")], seen
    for event in watch.Watch().stream(core.list_namespace, timeout_seconds=1):
        assert event["type"] == "ADDED", event


def pages():
    core = client.CoreV1Api()
    for i in range(5):
        core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": f"page-{i}", "labels": {"paged": "yes"}}})
    all_names = [o.metadata.name for o in core.list_namespaced_config_map(NAMESPACE).items]
    names, token = [], None
    while len(names) < len(all_names):
        page = core.list_namespaced_config_map(NAMESPACE, limit=2, _continue=token)
        names += [o.metadata.name for o in page.items]
        token = page.metadata._continue
        assert (page.metadata.remaining_item_count or 0) == len(all_names) - len(names), page.metadata
    assert names == all_names and not token, names
    gone = core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="paged=yes")
    assert gone.kind in ("Status", "ConfigMapList")


def from_yaml():
    """examples/create_from_yaml"""
    manifest = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "pi"}, "spec": {}}
    manifest["spec"]["template"] = {
        "spec": {"restartPolicy": "Never", "containers": [{"name": "pi", "image": "perl:5.34"}]}
    }
    utils.create_from_yaml(client.ApiClient(), yaml_objects=[manifest], namespace=NAMESPACE)
    job = client.BatchV1Api().read_namespaced_job("pi", NAMESPACE)
    assert job.spec.template.spec.containers[0].image == "perl:5.34"
    client.BatchV1Api().delete_namespaced_job("pi", NAMESPACE, propagation_policy="Background")


def untyped():
    """examples/dynamic-client"""
    objects = dynamic.DynamicClient(client.ApiClient())
    api = objects.resources.get(api_version="v1", kind="Service")
    manifest = {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": "frontend"},
        "spec": {"selector": {"app": "frontend"}, "ports": [{"name": "web", "port": 443, "targetPort": 8443}]},
    }
    made = api.create(body=manifest, namespace=NAMESPACE)
    assert made.spec.clusterIP.count(".") == 3, made
    manifest["spec"]["ports"][0]["targetPort"] = "https"
    patched = api.patch(body=manifest, name="frontend", namespace=NAMESPACE)
    assert [p.targetPort for p in patched.spec.ports] == ["https"], patched
    manifest["spec"]["ports"][0]["targetPort"] = 9443
    applied = api.server_side_apply(
        body=manifest, name="frontend", namespace=NAMESPACE, field_manager="py", force_conflicts=True
    )
    assert [p.targetPort for p in applied.spec.ports] == [9443], applied
    assert [s.metadata.name for s in api.get(namespace=NAMESPACE).items] == ["frontend"]
    for event in api.watch(namespace=NAMESPACE, timeout=1):
        assert event["type"] == "ADDED" and event["object"].metadata.name == "frontend"
    api.delete(name="frontend", namespace=NAMESPACE)


def custom():
    """examples/namespaced_custom_object.py"""
    extensions, objects = client.ApiextensionsV1Api(), client.CustomObjectsApi()
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {"cronSpec": {"type": "string"}, "image": {"type": "string"}, "replicas": {"type": "integer"}},
            }
        },
    }
    extensions.create_custom_resource_definition(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "crontabs.stable.python.example"},
            "spec": {
                "group": "stable.python.example",
                "scope": "Namespaced",
                "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "shortNames": ["ct"]},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
            },
        }
    )
    # Others define kinds of theirs meanwhile.
    own = "metadata.name=crontabs.stable.python.example"
    definitions = extensions.list_custom_resource_definition
    for event in watch.Watch().stream(definitions, field_selector=own, timeout_seconds=PATIENCE_S):
        status = event["object"].status
        if any(c.type == "Established" and c.status == "True" for c in (status and status.conditions) or []):
            break
    else:
        raise AssertionError("the kind is never established")
    where = ("stable.python.example", "v1", NAMESPACE, "crontabs")
    body = {
        "apiVersion": "stable.python.example/v1",
        "kind": "CronTab",
        "metadata": {"name": "mine"},
        "spec": {"cronSpec": "* * * * */5", "image": "my-image"},
    }
    objects.create_namespaced_custom_object(*where, body)
    assert objects.get_namespaced_custom_object(*where, "mine")["spec"]["image"] == "my-image"
    objects.patch_namespaced_custom_object(*where, "mine", {"spec": {"image": "other"}})
    assert objects.list_namespaced_custom_object(*where)["items"][0]["spec"]["image"] == "other"
    objects.delete_namespaced_custom_object(*where, "mine")
    extensions.delete_custom_resource_definition("crontabs.stable.python.example")


def main():
    config.load_kube_config(config_file=KUBECONFIG)
    for example in (namespaces, deployments, patches, errors, watched, pages, from_yaml, untyped, custom):
        if len(sys.argv) > 2 and example.__name__ not in sys.argv[2:]:
            continue
        example()
        print(f"{example.__name__} ok", flush=True)


main()
