{{/* values.yaml, for values that are null. Generated ('make generate'); a test fails where it differs. */}}
{{- define "scim-bridge-operator.defaults" -}}
{
  "addressPolicy": {
    "allowCidrs": [],
    "allowedHosts": [],
    "denyCidrs": [],
    "requireSecretConsent": false
  },
  "adminAddress": "",
  "admissionPolicy": {
    "enabled": false,
    "validationActions": [
      "Deny"
    ]
  },
  "affinity": {},
  "commonLabels": {},
  "concurrency": 128,
  "crds": {
    "adopt": false,
    "annotations": {},
    "install": true,
    "keep": true,
    "labels": {}
  },
  "dashboard": {
    "annotations": {},
    "enabled": false,
    "labels": {
      "grafana_dashboard": "1"
    }
  },
  "deploymentAnnotations": {},
  "dnsConfig": {},
  "dnsPolicy": "",
  "drainTimeout": "20s",
  "extraArgs": [],
  "extraEnv": [],
  "extraEnvFrom": [],
  "extraVolumeMounts": [],
  "extraVolumes": [],
  "fullnameOverride": "",
  "heartbeat": "5m",
  "hostAliases": [],
  "image": {
    "digest": "",
    "pullPolicy": "IfNotPresent",
    "repository": "scim-bridge-operator",
    "tag": ""
  },
  "imagePullSecrets": [],
  "leaderElection": {
    "enabled": true
  },
  "livenessProbe": {},
  "logging": {
    "format": "json",
    "level": "info"
  },
  "nameOverride": "",
  "networkPolicy": {
    "egress": {
      "apiServer": {
        "cidrs": [],
        "port": 6443
      },
      "bridges": [],
      "dns": [
        {
          "namespaceSelector": {
            "matchLabels": {
              "kubernetes.io/metadata.name": "kube-system"
            }
          }
        }
      ],
      "dnsPort": 53,
      "restrict": false
    },
    "enabled": false,
    "ingressFrom": [
      {
        "namespaceSelector": {}
      }
    ]
  },
  "nodeSelector": {},
  "podAnnotations": {},
  "podDisruptionBudget": {
    "create": "auto",
    "maxUnavailable": "",
    "minAvailable": ""
  },
  "podLabels": {},
  "podSecurityContext": {
    "runAsGroup": 65532,
    "runAsNonRoot": true,
    "runAsUser": 65532,
    "seccompProfile": {
      "type": "RuntimeDefault"
    }
  },
  "priorityClassName": "",
  "prometheusRule": {
    "annotations": {},
    "enabled": false,
    "labels": {},
    "namespaceLabel": "namespace",
    "runbooks": "",
    "selector": ""
  },
  "provisioning": {
    "enabled": false
  },
  "proxy": {
    "noProxy": [],
    "url": "",
    "urlSecret": {
      "key": "url",
      "name": ""
    }
  },
  "rbac": {
    "create": true
  },
  "readinessProbe": {},
  "replicas": 1,
  "resources": {
    "limits": {
      "memory": "64Mi"
    },
    "requests": {
      "cpu": "10m",
      "memory": "32Mi"
    }
  },
  "revisionHistoryLimit": 3,
  "runtimeClassName": "",
  "securityContext": {
    "allowPrivilegeEscalation": false,
    "capabilities": {
      "drop": [
        "ALL"
      ]
    },
    "readOnlyRootFilesystem": true
  },
  "service": {
    "annotations": {},
    "ipFamilyPolicy": "",
    "labels": {},
    "port": 8080
  },
  "serviceAccount": {
    "annotations": {},
    "automount": true,
    "create": true,
    "name": ""
  },
  "serviceMonitor": {
    "annotations": {},
    "enabled": false,
    "interval": "",
    "labels": {},
    "metricRelabelings": [],
    "relabelings": [],
    "scrapeTimeout": ""
  },
  "shards": [],
  "strategy": {},
  "tolerations": [],
  "topologySpreadConstraints": [],
  "trust": {
    "configMap": {
      "key": "ca.crt",
      "name": ""
    },
    "secret": {
      "key": "ca.crt",
      "name": ""
    },
    "systemRoots": true
  },
  "userRoles": {
    "create": "auto"
  },
  "watchLabelSelector": "",
  "watchNamespaces": []
}
{{- end -}}
