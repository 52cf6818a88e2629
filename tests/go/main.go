// Sends and receives with the published Go client of RocketMQ: ringmq-go-clients --namesrv HOST:PORT [SCENARIO...].
// Prints one line each, "PASS name (ms)" or "FAIL name: reason", then "TOTAL passed=N failed=M ms=T"; exit status 1 when one failed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

type world struct {
	namesrv  string
	run      string
	scenario string
}

func (w world) name(suffix string) string {
	return "it_go_" + w.scenario + "_" + w.run + suffix
}

type scenario struct {
	name string
	body func(w world) error
}

var scenarios = []scenario{
	{"sync", sendSync},
	{"async", sendAsync},
	{"oneway", sendOneway},
	{"batch", sendBatch},
	{"compressed", compressed},
	{"push", push},
	{"push_tags", pushTags},
	{"push_broadcast", pushBroadcast},
	{"push_orderly", pushOrderly},
	{"retry", retry},
	{"pull", pull},
	{"admin_topics", adminTopics},
}

func main() {
	rlog.SetLogLevel("fatal")
	var namesrv string
	chosen := map[string]bool{}
	for i := 1; i < len(os.Args); i++ {
		if os.Args[i] == "--namesrv" && i+1 < len(os.Args) {
			i++
			namesrv = os.Args[i]
		} else {
			chosen[os.Args[i]] = true
		}
	}
	if namesrv == "" {
		fmt.Fprintln(os.Stderr, "usage: ringmq-go-clients --namesrv HOST:PORT [SCENARIO...]")
		os.Exit(2)
	}
	start := time.Now()
	passed, failed := 0, 0
	var lines sync.Mutex
	var all sync.WaitGroup
	for _, s := range scenarios {
		if len(chosen) > 0 && !chosen[s.name] {
			continue
		}
		all.Add(1)
		go func() {
			defer all.Done()
			begin := time.Now()
			err := bounded(s, world{namesrv: namesrv, run: fmt.Sprintf("%x", start.UnixMilli()), scenario: s.name})
			lines.Lock()
			defer lines.Unlock()
			if err == nil {
				passed++
				fmt.Printf("PASS go_%s (%d)\n", s.name, time.Since(begin).Milliseconds())
			} else {
				failed++
				fmt.Printf("FAIL go_%s: %s\n", s.name, strings.Join(strings.Fields(err.Error()), " "))
			}
		}()
	}
	all.Wait()
	fmt.Printf("TOTAL passed=%d failed=%d ms=%d\n", passed, failed, time.Since(start).Milliseconds())
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}

func bounded(s scenario, w world) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if trouble := recover(); trouble != nil {
				done <- fmt.Errorf("panic: %v", trouble)
			}
		}()
		done <- s.body(w)
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(60 * time.Second):
		return errors.New("not done after 60 s")
	}
}

func newProducer(w world, options ...producer.Option) (rocketmq.Producer, error) {
	p, err := rocketmq.NewProducer(append([]producer.Option{
		producer.WithNameServer([]string{w.namesrv}),
		producer.WithGroupName(w.name("_p")),
		producer.WithInstanceName(w.name("_p")),
		producer.WithSendMsgTimeout(10 * time.Second),
		producer.WithRetry(2),
	}, options...)...)
	if err != nil {
		return nil, err
	}
	return p, p.Start()
}

func sent(result *primitive.SendResult, err error) error {
	if err != nil {
		return err
	}
	if result.Status != primitive.SendOK {
		return fmt.Errorf("send status %v", result.Status)
	}
	return nil
}

// send sends again what a crowded broker refused unread. The Go client does not repeat that code by itself.
func send(p rocketmq.Producer, messages ...*primitive.Message) (*primitive.SendResult, error) {
	for tries := 0; ; tries++ {
		result, err := p.SendSync(context.Background(), messages...)
		if err == nil || tries == 50 || !strings.Contains(err.Error(), "broker busy") {
			return result, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// A collector keeps the bodies that a consumer got.
type collector struct {
	lock   sync.Mutex
	bodies []string
}

func (c *collector) add(messages ...*primitive.MessageExt) {
	c.lock.Lock()
	defer c.lock.Unlock()
	for _, message := range messages {
		c.bodies = append(c.bodies, string(message.Body))
	}
}

func (c *collector) sorted() []string {
	c.lock.Lock()
	defer c.lock.Unlock()
	bodies := append([]string(nil), c.bodies...)
	sort.Strings(bodies)
	return bodies
}

func (c *collector) await(expected []string) error {
	sort.Strings(expected)
	end := time.Now().Add(40 * time.Second)
	for len(c.sorted()) < len(expected) && time.Now().Before(end) {
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond)
	if got := c.sorted(); strings.Join(got, " ") != strings.Join(expected, " ") {
		return fmt.Errorf("expected %d messages %v, got %d %v", len(expected), expected, len(got), got)
	}
	return nil
}

func numbered(prefix string, count int) []string {
	var all []string
	for i := 0; i < count; i++ {
		all = append(all, fmt.Sprintf("%s%d", prefix, i))
	}
	return all
}

func sendAll(p rocketmq.Producer, topic string, bodies []string) error {
	for _, body := range bodies {
		if err := sent(send(p, primitive.NewMessage(topic, []byte(body)))); err != nil {
			return err
		}
	}
	return nil
}

func startConsumer(w world, topic string, selector consumer.MessageSelector, f func(...*primitive.MessageExt) consumer.ConsumeResult, options ...consumer.Option) (rocketmq.PushConsumer, error) {
	c, err := rocketmq.NewPushConsumer(append([]consumer.Option{
		consumer.WithNameServer([]string{w.namesrv}),
		consumer.WithGroupName(w.name("_g")),
		consumer.WithInstance(w.name("_c")),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, options...)...)
	if err != nil {
		return nil, err
	}
	err = c.Subscribe(topic, selector, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		return f(messages...), nil
	})
	if err != nil {
		return nil, err
	}
	return c, c.Start()
}

// consumeAll checks with a consumer of its own that the topic holds exactly these bodies.
func consumeAll(w world, topic string, expected []string) error {
	var got collector
	c, err := startConsumer(w, topic, consumer.MessageSelector{}, func(messages ...*primitive.MessageExt) consumer.ConsumeResult {
		got.add(messages...)
		return consumer.ConsumeSuccess
	})
	if err != nil {
		return err
	}
	defer c.Shutdown()
	return got.await(expected)
}

func sendSync(w world) error {
	p, err := newProducer(w)
	if err != nil {
		return err
	}
	defer p.Shutdown()
	topic := w.name("")
	for i := 0; i < 20; i++ {
		message := primitive.NewMessage(topic, []byte(fmt.Sprintf("s%d", i)))
		message.WithTag("tag").WithKeys([]string{"key", "schlüssel"})
		message.WithProperty("p", "wért")
		result, err := send(p, message)
		if err := sent(result, err); err != nil {
			return err
		}
		if result.MsgID == "" || result.OffsetMsgID == "" || result.MessageQueue.Topic != topic {
			return fmt.Errorf("reply %+v", result)
		}
	}
	return consumeAll(w, topic, numbered("s", 20))
}

func sendAsync(w world) error {
	p, err := newProducer(w)
	if err != nil {
		return err
	}
	defer p.Shutdown()
	topic := w.name("")
	if err := sendAll(p, topic, []string{"a0"}); err != nil {
		return err
	}
	results := make(chan error, 50)
	for i := 1; i <= 50; i++ {
		message := primitive.NewMessage(topic, []byte(fmt.Sprintf("a%d", i)))
		err := p.SendAsync(context.Background(), func(_ context.Context, result *primitive.SendResult, err error) {
			if err != nil && strings.Contains(err.Error(), "broker busy") {
				result, err = send(p, message)
			}
			results <- sent(result, err)
		}, message)
		if err != nil {
			return err
		}
	}
	for i := 0; i < 50; i++ {
		select {
		case err := <-results:
			if err != nil {
				return err
			}
		case <-time.After(20 * time.Second):
			return fmt.Errorf("%d of 50 callbacks came", i)
		}
	}
	return consumeAll(w, topic, numbered("a", 51))
}

func sendOneway(w world) error {
	p, err := newProducer(w)
	if err != nil {
		return err
	}
	defer p.Shutdown()
	topic := w.name("")
	if err := sendAll(p, topic, []string{"o0"}); err != nil {
		return err
	}
	for i := 1; i <= 30; i++ {
		if err := p.SendOneWay(context.Background(), primitive.NewMessage(topic, []byte(fmt.Sprintf("o%d", i)))); err != nil {
			return err
		}
	}
	return consumeAll(w, topic, numbered("o", 31))
}

func sendBatch(w world) error {
	p, err := newProducer(w)
	if err != nil {
		return err
	}
	defer p.Shutdown()
	topic := w.name("")
	var batch []*primitive.Message
	for _, body := range numbered("b", 10) {
		batch = append(batch, primitive.NewMessage(topic, []byte(body)).WithTag("batch"))
	}
	result, err := send(p, batch...)
	if err := sent(result, err); err != nil {
		return err
	}
	if ids := strings.Split(result.OffsetMsgID, ","); len(ids) != 10 {
		return fmt.Errorf("10 offset ids expected, got %q", result.OffsetMsgID)
	}
	return consumeAll(w, topic, numbered("b", 10))
}

func compressed(w world) error {
	p, err := newProducer(w, producer.WithCompressMsgBodyOverHowmuch(100))
	if err != nil {
		return err
	}
	defer p.Shutdown()
	body := strings.Repeat("compressible ", 2000)
	if err := sendAll(p, w.name(""), []string{body}); err != nil {
		return err
	}
	return consumeAll(w, w.name(""), []string{body})
}

func push(w world) error {
	p, err := newProducer(w)
	if err != nil {
		return err
	}
	defer p.Shutdown()
	topic := w.name("")
	if err := sendAll(p, topic, numbered("m", 20)); err != nil {
		return err
	}
	var got collector
	c, err := startConsumer(w, topic, consumer.MessageSelector{}, func(messages ...*primitive.MessageExt) consumer.ConsumeResult {
		got.add(messages...)
		return consumer.ConsumeSuccess
	})
	if err != nil {
		return err
	}
	defer c.Shutdown()
	if err := got.await(numbered("m", 20)); err != nil {
		return err
	}
	// From here on each message finds a pull that waits for it. A crowded machine delays some, but not most.
	late := 0
	for i := 20; i < 30; i++ {
		start := time.Now()
		if err := sendAll(p, topic, []string{fmt.Sprintf("m%d", i)}); err != nil {
			return err
		}
		for len(got.sorted()) <= i && time.Since(start) < 5*time.Second {
			time.Sleep(time.Millisecond)
		}
		if time.Since(start) > time.Second {
			late++
		}
	}
	if late > 3 {
		return fmt.Errorf("%d of 10 messages came after more than a second", late)
	}
	return got.await(numbered("m", 30))
}

func pushTags(w world) error {
	p, err := newProducer(w)
	if err != nil {
		return err
	}
	defer p.Shutdown()
	topic := w.name("")
	for i := 0; i < 10; i++ {
		for _, tag := range []string{"AaAa", "BBBB", "other"} {
			message := primitive.NewMessage(topic, []byte(fmt.Sprintf("%s%d", tag, i))).WithTag(tag)
			if err := sent(send(p, message)); err != nil {
				return err
			}
		}
	}
	var got collector
	c, err := startConsumer(w, topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "AaAa || third"}, func(messages ...*primitive.MessageExt) consumer.ConsumeResult {
		got.add(messages...)
		return consumer.ConsumeSuccess
	})
	if err != nil {
		return err
	}
	defer c.Shutdown()
	return got.await(numbered("AaAa", 10))
}

func pushBroadcast(w world) error {
	p, err := newProducer(w)
	if err != nil {
		return err
	}
	defer p.Shutdown()
	topic := w.name("")
	if err := sendAll(p, topic, []string{"first"}); err != nil {
		return err
	}
	got := make([]collector, 2)
	for i := range got {
		c, err := startConsumer(w, topic, consumer.MessageSelector{}, func(messages ...*primitive.MessageExt) consumer.ConsumeResult {
			got[i].add(messages...)
			return consumer.ConsumeSuccess
		}, consumer.WithConsumerModel(consumer.BroadCasting), consumer.WithInstance(w.name(fmt.Sprintf("_c%d", i))))
		if err != nil {
			return err
		}
		defer c.Shutdown()
	}
	if err := sendAll(p, topic, numbered("m", 20)); err != nil {
		return err
	}
	for i := range got {
		if err := got[i].await(append(numbered("m", 20), "first")); err != nil {
			return fmt.Errorf("consumer %d: %w", i, err)
		}
	}
	return nil
}

func pushOrderly(w world) error {
	p, err := newProducer(w, producer.WithQueueSelector(producer.NewHashQueueSelector()))
	if err != nil {
		return err
	}
	defer p.Shutdown()
	topic := w.name("")
	for i := 0; i < 60; i++ {
		key := fmt.Sprintf("k%d", i%3)
		message := primitive.NewMessage(topic, []byte(fmt.Sprintf("%s-%02d", key, i))).WithShardingKey(key)
		if err := sent(send(p, message)); err != nil {
			return err
		}
	}
	var lock sync.Mutex
	var seen []string
	c, err := startConsumer(w, topic, consumer.MessageSelector{}, func(messages ...*primitive.MessageExt) consumer.ConsumeResult {
		lock.Lock()
		defer lock.Unlock()
		for _, message := range messages {
			seen = append(seen, string(message.Body))
		}
		return consumer.ConsumeSuccess
	}, consumer.WithConsumerOrder(true))
	if err != nil {
		return err
	}
	defer c.Shutdown()
	end := time.Now().Add(40 * time.Second)
	for {
		lock.Lock()
		count := len(seen)
		lock.Unlock()
		if count >= 60 {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d of 60 messages came", count)
		}
		time.Sleep(20 * time.Millisecond)
	}
	lock.Lock()
	defer lock.Unlock()
	last := map[string]string{}
	for _, body := range seen {
		key := strings.Split(body, "-")[0]
		if body <= last[key] {
			return fmt.Errorf("%s came after %s", body, last[key])
		}
		last[key] = body
	}
	return nil
}

// retry fails a message once; the Go client asks for its return with a request of its own shape.
func retry(w world) error {
	p, err := newProducer(w)
	if err != nil {
		return err
	}
	defer p.Shutdown()
	topic := w.name("")
	for _, name := range []string{topic, w.name("_other")} {
		if err := sendAll(p, name, []string{"again"}); err != nil {
			return err
		}
	}
	// A first consumer comes and goes, so that the retry topic has a route when the second one starts: with a group that
	// is new, the client looks at its retry topic up to 40 s later.
	first, err := startConsumer(w, w.name("_other"), consumer.MessageSelector{}, func(...*primitive.MessageExt) consumer.ConsumeResult {
		return consumer.ConsumeSuccess
	})
	if err != nil {
		return err
	}
	time.Sleep(time.Second)
	if err := first.Shutdown(); err != nil {
		return err
	}
	times := make(chan int32, 10)
	c, err := rocketmq.NewPushConsumer(
		consumer.WithNameServer([]string{w.namesrv}),
		consumer.WithGroupName(w.name("_g")),
		consumer.WithInstance(w.name("_c")),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	)
	if err != nil {
		return err
	}
	err = c.Subscribe(topic, consumer.MessageSelector{}, func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		times <- messages[0].ReconsumeTimes
		if messages[0].ReconsumeTimes == 0 {
			if concurrent, ok := primitive.GetConcurrentlyCtx(ctx); ok {
				concurrent.DelayLevelWhenNextConsume = 1
			}
			return consumer.ConsumeRetryLater, nil
		}
		return consumer.ConsumeSuccess, nil
	})
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	defer c.Shutdown()
	for expected := int32(0); expected < 2; expected++ {
		select {
		case got := <-times:
			if got != expected {
				return fmt.Errorf("reconsume times %d expected, got %d", expected, got)
			}
		case <-time.After(45 * time.Second):
			return fmt.Errorf("delivery %d did not come", expected)
		}
	}
	return nil
}

func pull(w world) error {
	p, err := newProducer(w)
	if err != nil {
		return err
	}
	defer p.Shutdown()
	topic := w.name("")
	var queues []*primitive.MessageQueue
	var expected []string
	for _, body := range numbered("m", 20) {
		result, err := send(p, primitive.NewMessage(topic, []byte(body)))
		if err := sent(result, err); err != nil {
			return err
		}
		expected = append(expected, body)
		known := false
		for _, queue := range queues {
			known = known || queue.QueueId == result.MessageQueue.QueueId
		}
		if !known {
			queues = append(queues, result.MessageQueue)
		}
	}
	c, err := rocketmq.NewPullConsumer(
		consumer.WithNameServer([]string{w.namesrv}),
		consumer.WithGroupName(w.name("_g")),
		consumer.WithInstance(w.name("_c")),
	)
	if err != nil {
		return err
	}
	if err := c.Subscribe(topic, consumer.MessageSelector{}); err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	defer c.Shutdown()
	var got collector
	for _, queue := range queues {
		for offset := int64(0); ; {
			result, err := c.PullFrom(context.Background(), queue, offset, 5)
			if err != nil {
				return fmt.Errorf("pull of queue %d at %d: %w", queue.QueueId, offset, err)
			}
			if result.Status != primitive.PullFound {
				break
			}
			got.add(result.GetMessageExts()...)
			offset = result.NextBeginOffset
			// A pull at the end is held for half a minute.
			if offset >= result.MaxOffset {
				break
			}
		}
	}
	return got.await(expected)
}

func adminTopics(w world) error {
	a, err := admin.NewAdmin(admin.WithResolver(primitive.NewPassthroughResolver([]string{w.namesrv})))
	if err != nil {
		return err
	}
	defer a.Close()
	list, err := a.FetchAllTopicList(context.Background())
	if err != nil {
		return err
	}
	for _, topic := range list.TopicList {
		if topic == "TBW102" {
			return nil
		}
	}
	return fmt.Errorf("TBW102 is not among %d topics", len(list.TopicList))
}
