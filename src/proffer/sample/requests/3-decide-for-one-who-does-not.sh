# Decide for a customer who qualifies for nothing: the fallback offer
curl -X POST \
  'http://127.0.0.1:8700/data/core/ode/e0bd8463-0913-4ca1-bd84-6309134ca1f6/decisions' \
  -H 'Content-Type: application/vnd.adobe.xdm+json; schema="https://ns.adobe.com/experience/offer-management/decision-request;version=1.0"' \
  -d '{
        "xdm:propositionRequests": [
            {
                "xdm:activityId": "xcore:offer-activity:17f7e67d3d4d9004",
                "xdm:placementId": "xcore:offer-placement:124e0be5699743d3"
            }
        ],
        "xdm:profiles": [
            {
                "xdm:identityMap": {"Email": [{"xdm:id": "nobody@example.org"}]}
            }
        ],
        "xdm:responseFormat": {
            "xdm:includeContent": true,
            "xdm:includeMetadata": {"xdm:option": ["name"], "xdm:placement": ["name"]}
        }
}'
