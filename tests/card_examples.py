"""A model card as they stand on the Hub, with everything that a careless tool would break."""

from auditcli.report.card import BEGIN, END

FRONT = """\
# Card of the thumbnails model; edited by hand.
language:
- en
- "no"            # Norwegian, and not a boolean
license: apache-2.0
library_name: 'safetensors'
pipeline_tag:   image-classification
base_model: acme/thumbnails-base
tags: [vision, "privacy: audited", 🔒]
datasets:
  - cifar10
  - acme/thumbnails   # private
widget:
- src: https://example.org/cat.png
  example_title: "A cat — \\"Ms. Tibbles\\""
description: |
  Reads thumbnails.

  # not a comment
  <!-- privaudit:begin -->
summary: >-
  Folded over
  two lines
co2_eq_emissions: {emissions: 12.50, source: 'estimate'}
released: 2026-03-01
revision: 0123
score: .nan
model-index:
# measured by hand
- name: Thumbnails   # shown on the leaderboard
  results:
  - task: {type: image-classification, name: Image Classification}
    dataset:
      type: cifar10
      name: "CIFAR-10"
      split: test
    metrics:
    - type: accuracy
      value: 0.9310   # the mean of three runs
      name: Accuracy
      verified: true
      verifyToken: eyJhbGciOiJFZERTQSJ9
  # the next one is old
  - task:
      type: image-classification
    dataset:
      type: acme/thumbnails
      name: Thumbnails
    metrics:
      - type: f1
        value: "0.90 ± 0.01"

      - {type: loss, value: 0.31}
      # no more metrics

# Keep this at the end.
thumbnail: "https://example.org/thumb.png"   # 1200 x 630
"""

BODY = f"""\

# Thumbnails 🖼️

| class | images | *note* |
|:------|-------:|--------|
| cat   |  5 000 | a \\| b |

---

Load it with:

```python
---
model = load("thumbnails")  # {BEGIN}
---
```

~~~html
{BEGIN}
shown, not meant
{END}
~~~

<details><summary>More</summary>

1. one
2. two  

</details>

The section stands between `{BEGIN}` and `{END}`.
"""

CARD = f"---\n{FRONT}---\n{BODY}"
