// Yardstick: the three hops of an order on Go's net/http, kept in memory, without validation.
//
//	rest-hops ROLE [INVENTORY_URL NOTIFICATION_URL]
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
)

var (
	mutex sync.Mutex
	done  = map[string][]byte{}
)

// The default transport keeps two idle connections to a host, and opens a new one for each further call.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024}}

func keep(id string, body []byte) {
	mutex.Lock()
	done[id] = body
	mutex.Unlock()
}

func call(url string, body []byte) error {
	response, err := client.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %d", url, response.StatusCode)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

func main() {
	role := os.Args[1]
	handle := func(writer http.ResponseWriter, request *http.Request) {
		var order map[string]any
		if err := json.NewDecoder(request.Body).Decode(&order); err != nil {
			http.Error(writer, err.Error(), http.StatusBadRequest)
			return
		}
		status := http.StatusOK
		if role == "order" {
			var id [16]byte
			_, _ = rand.Read(id[:])
			order["order_id"] = fmt.Sprintf("%x", id)
			status = http.StatusCreated
		}
		body, _ := json.Marshal(order)
		keep(order["order_id"].(string), body)
		if role == "order" {
			for _, url := range os.Args[2:4] {
				if err := call(url, body); err != nil {
					http.Error(writer, err.Error(), http.StatusBadGateway)
					return
				}
			}
		}
		answer, _ := json.Marshal(map[string]any{"order_id": order["order_id"], "status": "done"})
		writer.Header().Set("Content-Type", "application/json")
		writer.WriteHeader(status)
		_, _ = writer.Write(answer)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("{\"event\":\"ready\",\"url\":\"http://%s\"}\n", listener.Addr())
	panic(http.Serve(listener, http.HandlerFunc(handle)))
}
