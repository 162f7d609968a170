"""What a prompt is made of, in the contract's own terms: the media in it, in their order.

Knows nothing of how they are read.
"""

from engine.api.request import MediaPart, Message, RenderedPrompt

Conversation = tuple[Message, ...] | RenderedPrompt


def media_of(conversation: Conversation) -> list[MediaPart]:
    """In the order of their markers."""
    if isinstance(conversation, RenderedPrompt):
        return list(conversation.media)
    return [part for message in conversation for part in message.parts if isinstance(part, MediaPart)]
