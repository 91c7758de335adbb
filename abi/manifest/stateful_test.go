package manifest

import (
	"strings"
	"testing"
)

const counter = `{"abi":{"major":1,"minor":0},"functions":[{"name":"counter","type":"com.example/counter",
 "inputs":[{"name":"messages","columns":"id:utf8,typename:utf8,value:binary?","key":["id"]}],
 "outputs":[{"name":"messages","columns":"type:utf8,id:utf8,typename:utf8,value:binary?,op:int8,delay_ms:int64,token:utf8?"},
            {"name":"egress","columns":"egress:utf8,typename:utf8,key:binary?,value:binary?"}]}]}`

func TestAFunctionWithATypeTakesAndGivesMessages(t *testing.T) {
	m, err := Parse([]byte(counter))
	if err != nil || m.Functions[0].Type != "com.example/counter" {
		t.Fatal(err)
	}
	for _, c := range [][3]string{
		{"com.example/counter", "counter", "want namespace/name"},
		{"com.example/counter", "a/b/c", "want namespace/name"},
		{"com.example/counter", "io.weir/call", "Weir's own"},
		{`"key":["id"]`, `"key":["typename"]`, "one input"},
		{`"name":"messages","columns":"id`, `"name":"rows","columns":"id`, "one input"},
		{"id:utf8,typename:utf8", "id:utf8,other:utf8", "column other is none of"},
		{"id:utf8,typename:utf8", "id:utf8,typename:binary", "column typename is none of"},
		{"op:int8", "op:int16", "with the columns of the contract"},
		{`"name":"egress"`, `"name":"side"`, "outputs are messages, egress and requests"},
		{`"outputs":`, `"timers":[{"name":"t","kind":"event"}],"outputs":`, "no timers"},
	} {
		text := strings.Replace(counter, c[0], c[1], 1)
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s for %s: %v", c[1], c[0], err)
		}
	}
	first := strings.Index(counter, `{"name":"counter"`)
	twice := counter[:first] + strings.Replace(counter[first:len(counter)-2], `"name":"counter"`, `"name":"again"`, 1) + "," + counter[first:]
	if _, err := Parse([]byte(twice)); err == nil || !strings.Contains(err.Error(), "two functions have the type") {
		t.Errorf("two of one type: %v", err)
	}
}
