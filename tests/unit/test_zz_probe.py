import sys, torch, pathlib, tempfile
sys.path.insert(0,'/work/main/tests')
def test_x(tiny_model, tiny_folder):
    from transformers import AutoModelForSequenceClassification as A
    from edgedistil.compression.structured import Kept, cut
    from edgedistil.models.shrunken import load_classifier
    model = tiny_model("bert"); cut(model, [Kept([0,1,2,3], list(range(48)))]*2)
    folder = tiny_folder(model)
    a = A.from_pretrained(folder).eval(); b = load_classifier(folder)
    s, t, u = model.state_dict(), a.state_dict(), b.state_dict()
    print("equal states", all(torch.equal(s[k], t[k]) for k in s), all(torch.equal(s[k], u[k]) for k in s))
    print("misaligned", sum(v.data_ptr()%64!=0 for v in s.values()), sum(v.data_ptr()%64!=0 for v in t.values()), sum(v.data_ptr()%64!=0 for v in u.values()))
    ids = torch.tensor([[2, 9, 14, 30, 3]])
    with torch.inference_mode():
        o=[m(input_ids=ids, attention_mask=torch.ones_like(ids)).logits for m in (model,a,b)]
    print(o[1]-o[0], o[2]-o[0], model.config._attn_implementation, a.config._attn_implementation, b.config._attn_implementation)
