//! iceoryx2: publish and subscribe over slices, nothing lost, nothing kept for latecomers.
#![expect(
    clippy::inline_always,
    reason = "loops are compiled for each size of a message; so is what a transport inlines there"
)]

use std::process::ExitCode;

use iceoryx2::node::Node;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{BackpressureStrategy, LogLevel, NodeBuilder, ipc, set_log_level};
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use rivals_harness::{Cell, Failure, Link, Mode, Receiver, Sender, Spec, fail, worker};

/// It keeps state for every message that may be under way: not for more than this many.
const MAX_SLOTS: usize = 8192;

fn main() -> ExitCode {
    worker::main(Cell::measure::<Iceoryx>).unwrap_or(ExitCode::FAILURE)
}

struct Iceoryx {
    name: String,
    bytes: usize,
    slots: usize,
}

type Service = PortFactory<ipc::Service, [u8], ()>;

struct Tx {
    port: Publisher<ipc::Service, [u8], ()>,
    _service: Service,
    _node: Node<ipc::Service>,
}

struct Rx {
    port: Subscriber<ipc::Service, [u8], ()>,
    _service: Service,
    _node: Node<ipc::Service>,
}

impl Iceoryx {
    fn service(&self) -> Result<(Node<ipc::Service>, Service), Failure> {
        set_log_level(LogLevel::Error);
        let node = NodeBuilder::new().create::<ipc::Service>().map_err(text)?;
        let name = self.name.as_str().try_into().map_err(text)?;
        let service = node
            .service_builder(&name)
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .history_size(0)
            .subscriber_max_buffer_size(self.slots)
            .max_publishers(1)
            .max_subscribers(1)
            .open_or_create()
            .map_err(text)?;
        Ok((node, service))
    }
}

fn text(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

impl Link for Iceoryx {
    const MODE: Mode = Mode::Processes;
    type Tx = Tx;
    type Rx = Rx;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        Ok(Self {
            name: spec.name.clone(),
            bytes: spec.bytes,
            slots: spec.slots().min(MAX_SLOTS),
        })
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        let (node, service) = self.service()?;
        let port = service
            .publisher_builder()
            .initial_max_slice_len(self.bytes)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .map_err(text)?;
        Ok(Tx {
            port,
            _service: service,
            _node: node,
        })
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        let (node, service) = self.service()?;
        let port = service
            .subscriber_builder()
            .buffer_size(self.slots)
            .create()
            .map_err(text)?;
        Ok(Rx {
            port,
            _service: service,
            _node: node,
        })
    }
}

impl Sender for Tx {
    #[inline(always)]
    fn send(&mut self, message: &[u8]) {
        match self.port.loan_slice_uninit(message.len()) {
            Ok(sample) => {
                if let Err(error) = sample.write_from_slice(message).send() {
                    fail(text(error));
                }
            }
            Err(error) => fail(text(error)),
        }
    }
}

impl Receiver for Rx {
    #[inline(always)]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            match self.port.receive() {
                Ok(Some(sample)) => {
                    let length = sample.len();
                    if let Some(buffer) = buffer.get_mut(..length) {
                        buffer.copy_from_slice(&sample);
                    }
                    return length;
                }
                Ok(None) => {}
                Err(error) => fail(text(error)),
            }
        }
    }
}
