# Decide for a customer who qualifies, a student in France: the best offer
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
                "xdm:identityMap": {"Email": [{"xdm:id": "yanis@example.org"}]},
                "xdm:attributes": {
                    "person": {"name": {"firstName": "Yanis"}, "birthYear": 2004},
                    "homeAddress": {"countryCode": "FR"},
                    "preferredLanguage": "fr",
                    "_wrenfield": {
                        "customerType": "student",
                        "studentUntilYear": 2029,
                        "contract": {"product": "mobile", "status": "active", "monthsLeft": 9},
                        "fibre": {"available": true}
                    }
                }
            }
        ],
        "xdm:responseFormat": {
            "xdm:includeContent": true,
            "xdm:includeMetadata": {"xdm:option": ["name"], "xdm:placement": ["name"]}
        }
}'
