"""Snippets for pages and apps that request, show and report one scope."""

import json

_WEB = """\
<div id="proffer-offer"></div>
<script>
  // Calls wait here until alloy.min.js (npm: @adobe/alloy) has arrived.
  window.__alloyNS = ["alloy"];
  window.alloy = (...call) => new Promise((...settle) => alloy.q.push([...settle, call]));
  alloy.q = [];
</script>
<script src="/alloy.min.js" async></script>
<script>
  alloy("configure", {
    datastreamId: %(datastream)s,
    orgId: %(organisation)s,
    edgeDomain: %(domain)s,
    thirdPartyCookiesEnabled: false, // otherwise the first request goes to Adobe
  });
  const scope = %(scope)s; // %(about)s
  alloy("sendEvent", {
    personalization: { decisionScopes: [scope] },
    xdm: { eventType: "decisioning.propositionFetch" },
  }).then(({ propositions = [] }) => {
    const proposition = propositions.find((one) => one.scope === scope);
    const [offer] = proposition?.items ?? [];
    if (!offer) return;
    const place = document.querySelector("#proffer-offer");
    %(render)s
    const report = (eventType, mark) =>
      alloy("sendEvent", {
        xdm: {
          eventType,
          _experience: {
            decisioning: {
              propositions: [
                {
                  id: proposition.id,
                  scope: proposition.scope,
                  scopeDetails: proposition.scopeDetails,
                  items: [{ id: offer.id }],
                },
              ],
              propositionEventType: { [mark]: 1 },
            },
          },
        },
      });
    report("decisioning.propositionDisplay", "display");
    place.addEventListener("click", () => report("decisioning.propositionInteract", "interact"));
  });
</script>
"""

_RENDER = {
    "html": "place.innerHTML = offer.data.content;",
    "json": "const content = JSON.parse(offer.data.content); // draw it as you like",
    "imagelink": "place.append(Object.assign(new Image(), { src: offer.data.deliveryURL }));",
}
_RENDER_TEXT = "place.textContent = offer.data.content;"

_ANDROID = """\
MobileCore.updateConfiguration(
    mapOf("edge.configId" to %(datastream)s, "edge.domain" to %(domain)s)
)

val scope = DecisionScope(%(decision)s, %(placement)s%(count)s) // %(about)s
Optimize.updatePropositions(listOf(scope), null, null)
Optimize.getPropositions(
    listOf(scope),
    object : AdobeCallbackWithError<Map<DecisionScope, OptimizeProposition>> {
        override fun call(propositions: Map<DecisionScope, OptimizeProposition>?) {
            val offer = propositions?.get(scope)?.offers?.firstOrNull() ?: return
            show(offer.content) // draw it as you like
            offer.displayed() // and offer.tapped() when it is
        }

        override fun fail(error: AdobeError?) = Unit
    },
)
"""

_IOS = """\
MobileCore.updateConfigurationWith(
    configDict: ["edge.configId": %(datastream)s, "edge.domain": %(domain)s]
)

let scope = DecisionScope(activityId: %(decision)s, placementId: %(placement)s%(named_count)s) // %(about)s
Optimize.updatePropositions(for: [scope], withXdm: nil)
Optimize.getPropositions(for: [scope]) { propositions, _ in
    guard let offer = propositions?[scope]?.offers.first else { return }
    show(offer.content) // draw it as you like
    offer.displayed() // and offer.tapped() when it is
}
"""


def snippets(
    *,
    organisation: str,
    datastream: str,
    domain: str,
    decision: tuple[str, str],
    placement: tuple[str, str],
    kind: str,
    scope: str,
    item_count: int = 1,
) -> dict[str, str]:
    """Return the snippets for `web`, `android` (Kotlin) and `ios` (Swift).

    `decision`, `placement`: (id, name); `kind`: component kind of the placement; `item_count`: offers to request.
    """
    about = " ".join(f"{decision[1]}, in {placement[1]}".split()).replace("<", "(")
    values = {
        "organisation": organisation,
        "datastream": datastream,
        "domain": domain,
        "decision": decision[0],
        "placement": placement[0],
        "scope": scope,
    }
    words = {
        "about": about,
        "render": _RENDER.get(kind, _RENDER_TEXT),
        "count": f", {item_count}" if item_count > 1 else "",
        "named_count": f", itemCount: {item_count}" if item_count > 1 else "",
    }
    return {
        name: template % {**words, **{key: quote(value) for key, value in values.items()}}
        for name, template, quote in (
            ("web", _WEB, _quote_javascript),
            ("android", _ANDROID, _quote_kotlin),
            ("ios", _IOS, _quote_swift),
        )
    }


def _quote_javascript(value: str) -> str:
    return json.dumps(value).replace("<", "\\u003c")


def _quote_kotlin(value: str) -> str:
    return json.dumps(value).replace("$", "\\$")


def _quote_swift(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
